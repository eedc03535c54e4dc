#!/bin/sh
# Make the stack's secrets, all at random and at once: images/stack/secrets.sh [FOLDER]. What is there already stays; accounts of
# the object store that a version of before did not have are added.
# The folder is closed to every other account (0700). The files in it are readable, since each container's account is another.
set -eu
folder=${1:-secrets}
[ ! -d "$folder" ] || [ -e "$folder/s3.json" ] || exit 0
umask 077
made=$(mktemp -d "$folder.XXXXXX")
trap 'rm -rf "$made"' EXIT

random() { head -c "$1" /dev/urandom | od -An -tx1 | tr -d ' \n'; }
keep() { printf '%s' "$2" >"$made/$1"; } # without a line end: some readers would take it for a part of the secret
database() { # each database has an account of its own
    password=$(random 24)
    keep "$1_password" "$password"
    keep "$1_database" "postgresql+psycopg2://$1:$password@postgres/$1"
}
account() { # an account of the object store, and what it may do there
    ! grep -qs "\"name\": \"$1\"" "$folder/s3.json" || return 0
    secret=$(random 32)
    keep "s3_$1.env" "AWS_ACCESS_KEY_ID=$1
AWS_SECRET_ACCESS_KEY=$secret"
    accounts="$accounts${accounts:+,}
  {\"name\": \"$1\", \"credentials\": [{\"accessKey\": \"$1\", \"secretKey\": \"$secret\"}], \"actions\": [$2]}"
}

accounts=
account admin '"Admin"'
account ratchet '"Read:ratchet", "Write:ratchet", "List:ratchet", "Tagging:ratchet"'
account server '"Read:ratchet", "List:ratchet", "Write:ratchet/store/events/*", "Write:ratchet/store/counts/*"'
account reader '"Read:ratchet", "List:ratchet"'
account mlflow '"Read:mlflow", "Write:mlflow", "List:mlflow", "Tagging:mlflow"'

if [ -d "$folder" ]; then
    [ "$accounts" ] || exit 0
    if [ "$(tail -n 1 "$folder/s3.json")" != "]}" ]; then
        echo "given $folder/s3.json that ends otherwise than it was made; expected ]} as its last line; next: add the accounts" \
            "that images/stack/secrets.sh names, each with its s3_NAME.env" >&2
        exit 2
    fi
    keep s3.json "$(sed '$d' "$folder/s3.json"),$accounts
]}"
    chmod 0444 "$made"/*
    mv -f "$made"/s3_*.env "$folder"
    mv -f "$made/s3.json" "$folder" # last: it says what is there
    echo "added accounts to $folder/s3.json; next: docker compose restart seaweedfs" >&2
    exit 0
fi
keep s3.json "{\"identities\": [$accounts
]}"
keep postgres_password "$(random 24)"
database airflow
database mlflow
keep airflow_fernet_key "$(head -c 32 /dev/urandom | base64 | tr '+/' '-_')"
keep airflow_jwt_secret "$(random 64)"
keep airflow_api_secret "$(random 32)"
keep airflow_users.json "{\"admin\": \"$(random 12)\"}"
keep server_key "$(random 24)"
keep grafana_password "$(random 24)"
keep metrics_key "$(random 24)" # opens nothing until a key of scope metrics takes its place: docs/images.md
valkey=$(random 24)
keep valkey_password "$valkey"
keep valkey.conf "requirepass $valkey"

chmod 0444 "$made"/*
chmod 0644 "$made/metrics_key"
mv "$made" "$folder"
trap - EXIT
echo "made $folder; Airflow's account is admin, its password is in $folder/airflow_users.json" >&2
