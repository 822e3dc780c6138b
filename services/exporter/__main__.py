"""`python -m services.exporter --config FILE`."""
