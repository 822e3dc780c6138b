# Jaeger: traces of builds, in memory. Give the services environment = { OTEL_EXPORTER_OTLP_ENDPOINT = "http://<address>:4317" }.
#
#   nomad job run jaeger.nomad.hcl

variable "datacenters" {
  type    = list(string)
  default = ["*"]
}

variable "image" {
  type    = string
  default = "jaegertracing/all-in-one:1.62.0"
}

variable "driver" {
  type        = string
  default     = "docker"
  description = "docker; or raw_exec: the node's own jaeger (`command`)."
}

variable "command" {
  type    = string
  default = "jaeger"
}

job "buildmesh-jaeger" {
  datacenters = var.datacenters
  type        = "service"
  priority    = 30

  group "jaeger" {
    count = 1

    restart {
      attempts = 10
      interval = "5m"
      delay    = "1s"
      mode     = "delay"
    }

    network {
      port "otlp" {
        static = 4317
      }
      port "thrift" { # clients with JAEGER_TRACE
        static = 6831
      }
      port "page" {
        static = 16686
      }
      port "admin" {}
    }

    service {
      name     = "buildmesh-jaeger"
      provider = "nomad"
      port     = "otlp"
      tags     = ["buildmesh"]

      check {
        name     = "admin"
        type     = "http"
        port     = "admin"
        path     = "/"
        interval = "2s"
        timeout  = "2s"
      }
    }

    task "jaeger" {
      driver       = var.driver
      kill_timeout = "10s"

      env {
        COLLECTOR_OTLP_ENABLED        = "true"
        COLLECTOR_OTLP_GRPC_HOST_PORT = var.driver == "docker" ? ":${NOMAD_PORT_otlp}" : "${NOMAD_ADDR_otlp}"
        QUERY_HTTP_SERVER_HOST_PORT   = var.driver == "docker" ? ":${NOMAD_PORT_page}" : "${NOMAD_ADDR_page}"
        ADMIN_HTTP_HOST_PORT          = var.driver == "docker" ? ":${NOMAD_PORT_admin}" : "${NOMAD_ADDR_admin}"
        MEMORY_MAX_TRACES             = "20000"
      }

      dynamic "config" {
        for_each = var.driver == "docker" ? [1] : []
        content {
          image           = var.image
          ports           = ["otlp", "thrift", "page", "admin"]
          cap_drop        = ["all"]
          security_opt    = ["no-new-privileges"]
          readonly_rootfs = true
        }
      }

      dynamic "config" {
        for_each = var.driver == "docker" ? [] : [1]
        content {
          command = var.command
        }
      }

      resources {
        cpu        = 500
        memory     = 512
        memory_max = 2048
      }
    }
  }
}
