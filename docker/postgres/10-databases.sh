#!/bin/bash
# Runs once, when the data volume is empty. Creates a role and a database for Airflow and for MLflow, inaccessible to each other.
set -euo pipefail

for name in airflow mlflow; do
  variable="${name^^}_DB_PASSWORD"
  psql --no-psqlrc --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
    --set name="$name" --set password="${!variable:?is not set}" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name" ENCODING 'UTF8' TEMPLATE template0;
REVOKE CONNECT ON DATABASE :"name" FROM PUBLIC;
SQL
done
