# For `group "executor"` of executor.nomad.hcl. Two rules; the one that wants more executors wins. They are one `group` for the
# autoscaler: a rule without a wish would else outvote the other's wish for fewer, and nothing ever scaled in.
scaling {
  enabled = true
  min     = 1
  max     = 20

  policy {
    evaluation_interval = "5s"
    cooldown            = "30s"

    check "work" { # slots in use and steps that wait, as a share of all slots: eight of ten is right
      group        = "executors"
      source       = "prometheus"
      query        = <<-EOT
        (sum(buildmesh_executor_slots_busy) + (sum(buildmesh_queue_depth{queue=~"work\\.exec\\.default\\..*"}) or vector(0))) / sum(buildmesh_executor_slots)
      EOT
      query_window = "30s"

      strategy "target-value" {
        target = 0.8
      }
    }

    check "patience" { # a step has waited for a quarter of a minute: two more at once
      group        = "executors"
      source       = "prometheus"
      query        = "max(buildmesh_queue_oldest_seconds{queue=~\"work\\\\.exec\\\\.default\\\\..*\"}) or vector(0)"
      query_window = "15s"

      strategy "threshold" {
        lower_bound           = 15
        upper_bound           = 1e9
        delta                 = 2
        within_bounds_trigger = 1
      }
    }
  }
}
