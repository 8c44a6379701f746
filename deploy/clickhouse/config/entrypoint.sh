#!/usr/bin/env bash
# Gives users.xml the SHA-256 of each password file, then runs the image's own entry point.
# The environment holds hashes only; the passwords stay in their files.
set -euo pipefail

secrets=${LABELWATCH_SECRETS_DIR:-/run/secrets}

hash_of() {
    local file="$secrets/$1" password
    if ! password=$(cat "$file"); then
        echo "clickhouse: cannot read the password file $file" >&2
        exit 1
    fi
    if [[ -z $password ]]; then
        echo "clickhouse: the password file $file is empty" >&2
        exit 1
    fi
    printf %s "$password" | sha256sum | cut -d ' ' -f 1
}

LABELWATCH_WRITER_SHA256=$(hash_of clickhouse_writer_password)
LABELWATCH_BI_SHA256=$(hash_of clickhouse_bi_password)
export LABELWATCH_WRITER_SHA256 LABELWATCH_BI_SHA256

exec "${CLICKHOUSE_ENTRYPOINT:-/entrypoint.sh}" "$@"
