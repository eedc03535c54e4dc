"""Steps of the DAG build_recommender."""
