"""Steps of the DAGs deploy_release and rollback_release."""
