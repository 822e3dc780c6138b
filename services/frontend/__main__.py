"""`python -m services.frontend --config FILE`."""
