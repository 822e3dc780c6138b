# MinIO: the blob store, and a user in it for each service. Any other S3 will do: then leave this job out, write its address into `blobs` of the
# services, and its key into certs/<service>/aws before `certs/nomad/put`.
#
#   nomad job run minio.nomad.hcl        README.md says in which order, and what a node needs

variable "datacenters" {
  type    = list(string)
  default = ["*"]
}

variable "image" {
  type    = string
  default = "minio/minio:RELEASE.2025-09-07T16-13-09Z"
}

variable "driver" {
  type        = string
  default     = "docker"
  description = "docker; or raw_exec: the node's own minio (`command`)."
}

variable "command" {
  type    = string
  default = "minio"
}

variable "own_image" {
  type        = string
  default     = "buildmesh:latest"
  description = "Buildmesh's image: it makes the bucket and the users (`buildmesh store`)."
}

variable "python" {
  type        = string
  default     = "python"
  description = "With raw_exec: the interpreter that has Buildmesh's requirements."
}

variable "environment" {
  type        = map(string)
  default     = {}
  description = "With raw_exec: PYTHONPATH of the checkout."
}

variable "port" {
  type        = number
  default     = 9000
  description = "Where services connect. It stands still, as the bus's."
}

variable "tls" {
  type        = bool
  default     = true
  description = "With the certificate of `buildmesh certs`."
}

job "buildmesh-minio" {
  datacenters = var.datacenters
  type        = "service"
  priority    = 80

  group "minio" {
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
      port "s3" {
        static = var.port
      }
    }

    service {
      name     = "buildmesh-minio"
      provider = "nomad"
      port     = "s3"
      tags     = ["buildmesh"]

      check {
        name            = "ready"
        type            = "http"
        protocol        = var.tls ? "https" : "http"
        tls_skip_verify = true # the certificate is for the name minio.buildmesh, whatever the address
        path            = "/minio/health/ready"
        interval        = "2s"
        timeout         = "2s"
      }
    }

    dynamic "volume" {
      for_each = var.driver == "docker" ? [1] : []
      labels   = ["data"]
      content {
        type   = "host"
        source = "buildmesh-minio"
      }
    }

    task "minio" {
      driver       = var.driver
      kill_signal  = "SIGTERM"
      kill_timeout = "30s"

      env {
        MINIO_BROWSER         = "off"
        MINIO_UPDATE          = "off"
        MINIO_CALLHOME_ENABLE = "off"
        HOME                  = "${NOMAD_TASK_DIR}"
      }

      dynamic "config" {
        for_each = var.driver == "docker" ? [1] : []
        content {
          image        = var.image
          args         = ["server", "--quiet", "--certs-dir", "${NOMAD_SECRETS_DIR}/certs", "--address", ":${NOMAD_PORT_s3}", "/data"]
          ports        = ["s3"]
          cap_drop     = ["all"]
          security_opt = ["no-new-privileges"]
        }
      }

      dynamic "config" {
        for_each = var.driver == "docker" ? [] : [1]
        content {
          command = var.command
          args    = ["server", "--quiet", "--certs-dir", "${NOMAD_SECRETS_DIR}/certs", "--address", "${NOMAD_ADDR_s3}", "--console-address", "${NOMAD_IP_s3}:0", "${NOMAD_ALLOC_DIR}/data"]
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
        destination = "secrets/root.env"
        env         = true
        change_mode = "restart"
        data        = <<-EOT
          {{ with nomadVar "nomad/jobs/buildmesh-minio" }}
          MINIO_ROOT_USER={{ .user }}
          MINIO_ROOT_PASSWORD={{ .password }}
          {{ end }}
        EOT
      }

      dynamic "template" {
        for_each = var.tls ? [["public.crt", "cert"], ["private.key", "key"]] : []
        content {
          destination = "secrets/certs/${template.value[0]}"
          change_mode = "restart"
          perms       = "0644"
          data        = "{{ with nomadVar \"nomad/jobs/buildmesh-minio\" }}{{ .${template.value[1]} }}{{ end }}"
        }
      }

      resources {
        cpu        = 1000
        memory     = 1024
        memory_max = 4096
      }
    }

    task "users" { # the bucket, and a user with its own rights for each service; again at each start, which changes nothing
      driver = var.driver
      user   = var.driver == "docker" ? "10001:10001" : "root"
      env    = var.environment

      lifecycle {
        hook = "poststart"
      }

      dynamic "config" {
        for_each = var.driver == "docker" ? [1] : []
        content {
          image           = var.own_image
          command         = "python"
          args            = ["-m", "services.store", "--blobs", "s3://${NOMAD_ADDR_s3}/buildmesh${var.tls ? "?tls=mesh" : ""}", "--certificates", "${NOMAD_SECRETS_DIR}", "--users", "${NOMAD_SECRETS_DIR}/users"]
          cap_drop        = ["all"]
          security_opt    = ["no-new-privileges"]
          readonly_rootfs = true
        }
      }

      dynamic "config" {
        for_each = var.driver == "docker" ? [] : [1]
        content {
          command = var.python
          args    = ["-m", "services.store", "--blobs", "s3://${NOMAD_ADDR_s3}/buildmesh${var.tls ? "?tls=mesh" : ""}", "--certificates", "${NOMAD_SECRETS_DIR}", "--users", "${NOMAD_SECRETS_DIR}/users"]
        }
      }

      template {
        destination = "secrets/store.env"
        env         = true
        data        = "AWS_SHARED_CREDENTIALS_FILE={{ env \"NOMAD_SECRETS_DIR\" }}/aws"
      }

      dynamic "template" {
        for_each = merge({ "ca.pem" = "ca", "aws" = "aws" }, { for service in ["gateway", "frontend", "solver", "exporter", "cachestore", "executor"] : "users/${service}" => "aws_${service}" })
        content {
          destination = "secrets/${template.key}"
          change_mode = "restart"
          perms       = "0644"
          data        = "{{ with nomadVar \"nomad/jobs/buildmesh-minio\" }}{{ .${template.value} }}{{ end }}"
        }
      }

      resources {
        cpu    = 100
        memory = 128
      }
    }
  }
}
