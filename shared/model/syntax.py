"""Which Dockerfile language the built-in frontend speaks."""

DOCKERFILE_VERSION = "1.26.0"
