# What a Nomad client that runs Buildmesh has to be told. Volumes: only those of the jobs that may run on the node.
client {
  max_kill_timeout = "15m" # above the jobs' `drain`

  host_volume "buildmesh-nats" {
    path = "/srv/buildmesh/nats"
  }
  host_volume "buildmesh-minio" {
    path = "/srv/buildmesh/minio"
  }
  host_volume "buildmesh-cachestore" {
    path = "/srv/buildmesh/cachestore" # owned by 10001
  }
  host_volume "buildmesh-executor" {
    path = "/srv/buildmesh/executor"
  }
}

plugin "docker" {
  config {
    volumes {
      enabled = true # the executor binds /sys/fs/cgroup
    }
    allow_caps = [
      "audit_write", "chown", "dac_override", "fowner", "fsetid", "kill", "mknod", "net_bind_service", "net_raw", "setfcap", "setgid", "setpcap", "setuid", "sys_chroot",
      "dac_read_search", "net_admin", "sys_admin", "sys_nice", "sys_ptrace", # executor nodes
    ]
  }
}
