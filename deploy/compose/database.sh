#!/bin/sh
# Runs once, when PostgreSQL makes its data directory.
set -eu
psql --set=ON_ERROR_STOP=1 --set=password="$AUTHENTICATOR_PASSWORD" \
  --username=postgres --file=/database.sql
