#!/bin/sh
# One database and one account for each name, when PostgreSQL starts with an empty folder: an account may only use its own.
set -eu
for name in airflow mlflow; do
    psql --username postgres --no-psqlrc --quiet --set ON_ERROR_STOP=1 --set name="$name" \
        --set password="$(cat "/run/secrets/${name}_password")" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
done
