# The part of the entry point of the official PostgreSQL image that docker-compose.yaml needs: the first start creates the
# database cluster, and runs the scripts in /docker-entrypoint-initdb.d on a server that listens on its socket only.
set -euo pipefail
if [ "$(id -u)" = 0 ]; then
  install --directory --owner=postgres --group=postgres --mode=0700 "$PGDATA"
  exec setpriv --reuid=postgres --regid=postgres --init-groups bash "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb --locale=C.UTF-8 --username=postgres --auth-local=trust --auth-host=scram-sha-256 --pwfile=<(printenv POSTGRES_PASSWORD) > /dev/null
  echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
  pg_ctl --wait start -o "-c listen_addresses=''" > /dev/null
  for script in /docker-entrypoint-initdb.d/*.sh; do . "$script"; done
  pg_ctl --wait stop > /dev/null
fi
exec "$@"
