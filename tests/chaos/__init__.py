"""Everything that can die does so under load: six services in several processes, nats-server, MinIO, runc. Results: docs/failures.md."""
