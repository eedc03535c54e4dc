"""Steps of the DAG erase_subject."""
