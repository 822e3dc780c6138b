# The solver: the graph of each build. Each build stays with the solver that took it from the queue.
#
#   nomad job run solver.nomad.hcl        README.md says in which order, and what a node needs

variable "datacenters" {
  type    = list(string)
  default = ["*"]
}

variable "count" {
  type        = number
  default     = 2
  description = "Solvers."
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
  default     = 900
  description = "Seconds that running work may take after SIGTERM. The client's max_kill_timeout has to be larger."
}

variable "entitlements" {
  type        = list(string)
  default     = []
  description = "The same as the gateway's."
}

locals {
  address = var.driver == "docker" ? "0.0.0.0" : "{{ env \"NOMAD_IP_http\" }}" # a container may listen on all of its own
}

job "buildmesh-solver" {
  datacenters = var.datacenters
  type        = "service"

  group "solver" {
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
      name     = "buildmesh-solver"
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

    task "solver" {
      driver         = var.driver
      user           = var.driver == "docker" ? "10001:10001" : "root"
      env            = var.environment
      kill_signal    = "SIGTERM" # drains: takes nothing new, ends what runs
      kill_timeout   = "${var.drain + 30}s"
      shutdown_delay = "0s"

      dynamic "config" {
        for_each = var.driver == "docker" ? [1] : []
        content {
          image           = var.image
          command         = "python"
          args            = ["-m", "services.solver", "--config", "${NOMAD_TASK_DIR}/buildmesh.toml"]
          ports           = ["http"]
          cap_drop        = ["all"]
          security_opt    = ["no-new-privileges"]
          readonly_rootfs = true

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
          args    = ["-m", "services.solver", "--config", "${NOMAD_TASK_DIR}/buildmesh.toml"]
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
          state         = "{{ env "NOMAD_TASK_DIR" }}/state"
          near_blobs    = false
          http          = "${local.address}:{{ env "NOMAD_PORT_http" }}"
          instance      = "{{ env "NOMAD_ALLOC_ID" }}"
          log_format    = "json"
          drain_seconds = ${var.drain}
          certificates  = "${var.tls ? "{{ env \"NOMAD_SECRETS_DIR\" }}" : ""}"

          [solver]
          entitlements = ${jsonencode(var.entitlements)}
        EOT
      }

      template { # this service's own key of the blob store, from the same place as its certificates
        destination = "secrets/aws"
        change_mode = "restart"
        perms       = "0644"
        data        = "{{ with nomadVar \"nomad/jobs/buildmesh-solver\" }}{{ .aws }}{{ end }}"
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
          data        = "{{ with nomadVar \"nomad/jobs/buildmesh-solver\" }}{{ .${template.value} }}{{ end }}"
        }
      }

      resources {
        cpu        = 1000
        memory     = 512
        memory_max = 2048
      }
    }
  }
}
