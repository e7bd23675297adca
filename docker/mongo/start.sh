#!/bin/sh
# The entrypoint of mongo: gives mongod's user copies of the secrets that it alone can read, then starts mongod as that user.
set -eu

# Standard input becomes the file $1, which is never readable by anyone else.
keep() (
  umask 0377
  cat > "/run/almanac/$1"
  chown mongodb:mongodb "/run/almanac/$1"
)

for name in MONGO_KEYFILE MONGO_ROOT_PASSWORD MONGO_URI; do
  keep "$name" < "/run/secrets/$name"
done
# What mongodump and mongorestore are given, so that no password stands on a command line.
printf 'uri: %s\n' "$(cat /run/secrets/MONGO_URI)" | keep tools.yaml
# A restored volume may belong to anyone.
find /data/db ! -user mongodb -exec chown mongodb:mongodb {} +
exec setpriv --reuid=mongodb --regid=mongodb --init-groups docker-entrypoint.sh mongod "$@"
