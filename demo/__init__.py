"""The platform on one machine: installs it, starts the services, runs the chain of DAGs, plants harms."""
