# NATS with JetStream: the bus. One server, or three on three nodes (then give `routes`).
#
#   nomad job run nats.nomad.hcl        README.md says in which order, and what a node needs

variable "datacenters" {
  type    = list(string)
  default = ["*"]
}

variable "image" {
  type    = string
  default = "nats:2.15-alpine"
}

variable "driver" {
  type        = string
  default     = "docker"
  description = "docker; or raw_exec: the node's own nats-server (`command`)."
}

variable "command" {
  type    = string
  default = "nats-server"
}

variable "port" {
  type        = number
  default     = 4222
  description = "Where services connect. It stands still, so that a restart of the server restarts nothing else."
}

variable "tls" {
  type        = bool
  default     = true
  description = "One user a service, known by its certificate, with its own subjects. false = anybody may say anything: for trying out only."
}

locals {
  address = var.driver == "docker" ? "0.0.0.0" : "{{ env \"NOMAD_IP_client\" }}" # a container may listen on all of its own
}

job "buildmesh-nats" {
  datacenters = var.datacenters
  type        = "service"
  priority    = 80

  group "nats" {
    count = 1

    update {
      max_parallel      = 1
      health_check      = "checks"
      min_healthy_time  = "2s"
      healthy_deadline  = "2m"
      progress_deadline = "5m"
      auto_revert       = true
    }

    restart {
      attempts = 10
      interval = "5m"
      delay    = "1s"
      mode     = "delay"
    }

    network {
      port "client" {
        static = var.port
      }
      port "monitor" {}
    }

    service {
      name     = "buildmesh-nats"
      provider = "nomad"
      port     = "client"
      tags     = ["buildmesh"]

      check {
        name     = "healthz"
        type     = "http"
        port     = "monitor"
        path     = "/healthz"
        interval = "2s"
        timeout  = "2s"
      }
    }

    dynamic "volume" {
      for_each = var.driver == "docker" ? [1] : []
      labels   = ["data"]
      content {
        type   = "host"
        source = "buildmesh-nats"
      }
    }

    task "nats" {
      driver       = var.driver
      kill_signal  = "SIGTERM"
      kill_timeout = "30s"

      dynamic "config" {
        for_each = var.driver == "docker" ? [1] : []
        content {
          image           = var.image
          args            = ["-c", "${NOMAD_TASK_DIR}/nats.conf"]
          ports           = ["client", "monitor"]
          cap_drop        = ["all"]
          security_opt    = ["no-new-privileges"]
          readonly_rootfs = true
        }
      }

      dynamic "config" {
        for_each = var.driver == "docker" ? [] : [1]
        content {
          command = var.command
          args    = ["-c", "${NOMAD_TASK_DIR}/nats.conf"]
        }
      }

      dynamic "volume_mount" {
        for_each = var.driver == "docker" ? [1] : []
        content {
          volume      = "data"
          destination = "/data"
        }
      }

      template {
        destination = "local/nats.conf"
        change_mode = "restart"
        data        = <<-EOT
          server_name: "{{ env "NOMAD_ALLOC_NAME" }}"
          host: "${local.address}"
          port: {{ env "NOMAD_PORT_client" }}
          http: "${local.address}:{{ env "NOMAD_PORT_monitor" }}"
          jetstream { store_dir: "${var.driver == "docker" ? "/data" : "{{ env \"NOMAD_ALLOC_DIR\" }}/data"}" }
          {{ if ${var.tls} }}
          tls {
            ca_file:   "{{ env "NOMAD_SECRETS_DIR" }}/ca.pem"
            cert_file: "{{ env "NOMAD_SECRETS_DIR" }}/cert.pem"
            key_file:  "{{ env "NOMAD_SECRETS_DIR" }}/key.pem"
            verify_and_map: true
          }
          include "users.conf"
          {{ end }}
        EOT
      }

      dynamic "template" {
        for_each = var.tls ? [["secrets/ca.pem", "ca"], ["secrets/cert.pem", "cert"], ["secrets/key.pem", "key"], ["local/users.conf", "users"]] : []
        content {
          destination = template.value[0]
          change_mode = "restart"
          perms       = "0644"
          data        = "{{ with nomadVar \"nomad/jobs/buildmesh-nats\" }}{{ .${template.value[1]} }}{{ end }}"
        }
      }

      resources {
        cpu        = 500
        memory     = 256
        memory_max = 2048
      }
    }
  }
}
