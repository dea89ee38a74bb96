#!/usr/bin/env bash
# Makes the secrets and folders that compose.yaml names, where they are not there yet. Run again, it
# changes nothing: a new master key could not read what the old one sealed.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
umask 077

mkdir -p secrets data/node-1 data/node-2

# once FILE COMMAND...: writes what the command prints to a secret, unless it is there.
once() {
    local file=secrets/$1
    shift
    [[ -e $file ]] || "$@" >"$file"
}
random() { head -c "$1" /dev/urandom | base64 --wrap=0; }
# For URLs: letters and digits only, of which these are 40 at least.
password() {
    local text
    text=$(random 64)
    text=${text//[^A-Za-z0-9]/}
    echo "${text:0:40}"
}
master_key() { printf '1:%s\n' "$(random 32)"; }
mongodb_url() {
    printf 'mongodb://wotp:%s@%s/wotp?replicaSet=rs0&authSource=wotp\n' \
        "$(<secrets/mongodb-password)" mongodb-1:27017,mongodb-2:27017,mongodb-3:27017
}
redis_url() { printf 'redis://:%s@redis:6379\n' "$(<secrets/redis-password)"; }
redis_conf() {
    cat <<END
bind 0.0.0.0
protected-mode no
requirepass $(<secrets/redis-password)
save ""
appendonly no
maxmemory 512mb
maxmemory-policy noeviction
END
}

once master.key master_key
once mongodb-keyfile random 512
once mongodb-root-password password
once mongodb-password password
once redis-password password
once mongodb.url mongodb_url
once redis.url redis_url
once redis.conf redis_conf

if ! grep -qs '^WOTP_USER=' .env; then
    printf 'WOTP_USER=%s:%s\n' "$(id -u)" "$(id -g)" >>.env
fi
if ! grep -qs '^DOMAIN=' .env; then
    echo 'DOMAIN=localhost' >>.env
    echo "the name that callers use is DOMAIN in .env: it is localhost until you change it"
fi
echo "ready: keep a copy of secrets/master.key away from this machine and from the backups"
