"""Evaluation: a release's runs measured against qrels, beside baselines and beside another release."""
