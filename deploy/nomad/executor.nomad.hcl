# The executor: the only service with rights. It mounts snapshots and starts the containers of steps.
#
#   nomad job run executor.nomad.hcl        README.md says in which order, and what a node needs

variable "datacenters" {
  type    = list(string)
  default = ["*"]
}

variable "count" {
  type        = number
  default     = 1
  description = "Executors at the start; the autoscaler changes it (scaling.min, scaling.max)."
}

variable "image" {
  type    = string
  default = "buildmesh:latest"
}

variable "release" {
  type        = string
  default     = ""
  description = "Any text. Another one rolls the job, also where the image's tag stays the same."
}

variable "driver" {
  type        = string
  default     = "docker"
  description = "docker; or raw_exec: the node's own Python and a checkout (PYTHONPATH in `environment`), without a container."
}

variable "python" {
  type        = string
  default     = "python"
  description = "With raw_exec: the interpreter that has the requirements."
}

variable "environment" {
  type        = map(string)
  default     = {}
  description = "More for the process, as OTEL_EXPORTER_OTLP_ENDPOINT."
}

variable "tls" {
  type        = bool
  default     = true
  description = "Certificates of `buildmesh certs` on every road. false = a bus that anybody may use: for trying out only."
}

variable "healthy_deadline" {
  type        = string
  default     = "3m"
  description = "How long a new version may take to be ready, the pull of its image included; then Nomad goes back to the last one that was."
}

variable "drain" {
  type        = number
  default     = 600
  description = "Seconds that running work may take after SIGTERM. The client's max_kill_timeout has to be larger."
}

variable "state" {
  type        = string
  default     = "/var/lib/buildmesh"
  description = "The folder for snapshots: in the container the host volume `buildmesh-executor`, with raw_exec a folder of the node."
}

variable "class" {
  type        = string
  default     = "default"
  description = "Which work it takes: default, gpu, big, …"
}

variable "slots" {
  type        = number
  default     = 0
  description = "Steps at a time; 0 = four for each core."
}

variable "entitlements" {
  type        = list(string)
  default     = []
  description = "The same as the gateway's."
}

variable "network" {
  type        = string
  default     = "bridge"
  description = "Network of steps: bridge, cni or host."
}

variable "closed" {
  type        = list(string)
  default     = ["attached", "private"]
  description = "With network = bridge: what steps do not reach, by default the node, the fleet, clouds' metadata and all private networks. [] = nothing is closed."
}

locals {
  address = var.driver == "docker" ? "0.0.0.0" : "{{ env \"NOMAD_IP_http\" }}" # a container may listen on all of its own
}

job "buildmesh-executor" {
  datacenters = var.datacenters
  type        = "service"

  group "executor" {
    count = var.count

    meta {
      release = var.release
    }

    update { # one after the other; the next when this one's checks pass; back to the last version that did when they don't
      max_parallel      = 1
      health_check      = "checks"
      min_healthy_time  = "3s"
      healthy_deadline  = var.healthy_deadline
      progress_deadline = "0s" # the first that is not well ends it: back to the last good version at once
      auto_revert       = true
    }

    migrate { # `nomad node drain`
      max_parallel     = 1
      health_check     = "checks"
      min_healthy_time = "3s"
      healthy_deadline = var.healthy_deadline
    }

    restart { # services wait for bus and blob store by themselves; what ends anyway is started again, without end
      attempts = 10
      interval = "5m"
      delay    = "2s"
      mode     = "delay"
    }

    network {
      port "http" {}
    }

    service {
      name     = "buildmesh-executor"
      provider = "nomad"
      port     = "http"
      tags     = ["buildmesh", "metrics:${NOMAD_HOST_PORT_http}"]

      check {
        name     = "ready"
        type     = "http"
        port     = "http"
        path     = "/readyz"
        interval = "2s"
        timeout  = "2s"
      }
    }

    dynamic "volume" {
      for_each = var.driver == "docker" ? [1] : []
      labels   = ["state"]
      content {
        type   = "host"
        source = "buildmesh-executor"
      }
    }

    task "executor" {
      driver         = var.driver
      user           = var.driver == "docker" ? "0:0" : "root"
      env            = var.environment
      kill_signal    = "SIGTERM" # drains: takes nothing new, ends what runs
      kill_timeout   = "${var.drain + 30}s"
      shutdown_delay = "0s"

      dynamic "config" {
        for_each = var.driver == "docker" ? [1] : []
        content {
          image    = var.image
          command  = "python"
          args     = ["-m", "services.executor", "--config", "${NOMAD_TASK_DIR}/buildmesh.toml"]
          ports    = ["http"]
          cap_drop = ["all"]
          cap_add = [ # mounts, namespaces and networks of steps; then what Docker gives every container and builds expect of a step
            "sys_admin", "net_admin", "sys_ptrace", "sys_chroot", "sys_nice", "dac_read_search", "mknod", "setpcap",
            "audit_write", "chown", "dac_override", "fowner", "fsetid", "kill", "net_bind_service", "net_raw", "setfcap", "setgid", "setuid",
          ]
          security_opt = ["seccomp=unconfined", "apparmor=unconfined"] # runc gives each step a profile of its own
          cgroupns     = "host"
          sysctl       = { "net.ipv4.ip_forward" = "1" } # between the bridge of the steps and the way out; in this container only

          mount {
            type     = "bind"
            source   = "/sys/fs/cgroup"
            target   = "/sys/fs/cgroup"
            readonly = false
          }
          mount {
            type     = "tmpfs"
            target   = "/run"
            readonly = false
          }

          mount {
            type     = "tmpfs"
            target   = "/tmp"
            readonly = false
          }
        }
      }

      dynamic "config" {
        for_each = var.driver == "docker" ? [] : [1]
        content {
          command = var.python
          args    = ["-m", "services.executor", "--config", "${NOMAD_TASK_DIR}/buildmesh.toml"]
        }
      }

      dynamic "volume_mount" {
        for_each = var.driver == "docker" ? [1] : []
        content {
          volume      = "state"
          destination = "/var/lib/buildmesh"
        }
      }

      # Addresses of the bus and the blob store are looked up at each start. They are to stand still (static ports on nodes with
      # their volume), so a change restarts nothing by itself.
      template {
        destination = "local/buildmesh.toml"
        change_mode = "noop"
        data        = <<-EOT
          [mesh]
          bus           = "{{ range $i, $s := nomadService "buildmesh-nats" }}{{ if $i }},{{ end }}${var.tls ? "tls" : "nats"}://{{ .Address }}:{{ .Port }}{{ end }}"
          blobs         = "s3://{{ with nomadService "buildmesh-minio" }}{{ with index . 0 }}{{ .Address }}:{{ .Port }}{{ end }}{{ end }}/buildmesh${var.tls ? "?tls=mesh" : ""}"
          state         = "${var.state}"
          near_blobs    = true
          share_state   = true # executors of a node share the volume, each takes a folder in it
          http          = "${local.address}:{{ env "NOMAD_PORT_http" }}"
          instance      = ""
          log_format    = "json"
          drain_seconds = ${var.drain}
          certificates  = "${var.tls ? "{{ env \"NOMAD_SECRETS_DIR\" }}" : ""}"

          [executor]
          classes         = ["${var.class}"]
          max_parallelism = ${var.slots}
          entitlements    = ${jsonencode(var.entitlements)}
          cgroup_parent   = "${var.driver == "docker" ? "/buildmesh" : ""}"
          own_cgroup      = ${var.driver == "docker"}

          [executor.network]
          mode   = "${var.network}"
          closed = ${jsonencode(var.network == "bridge" ? var.closed : [])}
        EOT
      }

      template { # this service's own key of the blob store, from the same place as its certificates
        destination = "secrets/aws"
        change_mode = "restart"
        perms       = "0644"
        data        = "{{ with nomadVar \"nomad/jobs/buildmesh-executor\" }}{{ .aws }}{{ end }}"
      }

      template {
        destination = "secrets/blobs.env"
        env         = true
        change_mode = "noop"
        data        = "AWS_SHARED_CREDENTIALS_FILE={{ env \"NOMAD_SECRETS_DIR\" }}/aws"
      }

      dynamic "template" { # the certificates of this service, as `buildmesh certs` has written them into Nomad's variables
        for_each = var.tls ? ["ca", "cert", "key"] : []
        content {
          destination = "secrets/${template.value}.pem"
          change_mode = "restart"
          perms       = "0644"
          data        = "{{ with nomadVar \"nomad/jobs/buildmesh-executor\" }}{{ .${template.value} }}{{ end }}"
        }
      }

      resources {
        cpu        = 4000
        memory     = 4096
        memory_max = 16384
      }
    }
  }
}
