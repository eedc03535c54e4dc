"""StepOperator, which runs a step as a local process or as a pod, and what DAGs need beside it."""
