"""The platform on one machine: installs, starts the services, runs the train, plants the harms."""
