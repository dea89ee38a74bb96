#!/usr/bin/env bash
# Calls every operation of /openapi.json on a running server with generated input,
# good and bad, and holds each reply to what the document promises.
#
# Usage: platform/server/tests/schemathesis.sh WOTP [SCHEMATHESIS OPTION...]
#
# WOTP is the built binary. It serves a fresh data folder on a free port of the
# loopback and is stopped at the end. The key is a test key: nothing is delivered.
# Further options go to `schemathesis run`, for example `--seed 1` or
# `--include-path /v1/services`. The input is the same on every run unless
# SCHEMATHESIS_RANDOM=1. Exit status: 0 when every promise was kept.
set -euo pipefail

(($#)) || {
    sed -n '2,/^set/{s/^# \{0,1\}//;/^set/d;p}' "${BASH_SOURCE[0]}" >&2
    exit 2
}
wotp=$(realpath -- "$1")
shift
python=${TEST_PYTHON:-${XDG_CACHE_HOME:-$HOME/.cache}/wotp/venv/bin/python}
[[ -x $python ]] || {
    echo "no Python with schemathesis at $python: run .ci/prerequisites test" >&2
    exit 2
}

# What every reply is held to.
checks=(
    not_a_server_error             # no 5xx
    status_code_conformance        # no status that is not documented
    content_type_conformance
    response_headers_conformance
    response_schema_conformance
    negative_data_rejection        # what the schema forbids is refused
    ignored_auth                   # no answer without a key, or with a wrong one
    unsupported_method             # 405 where there is no such method
    use_after_free                 # what was deleted is gone
)
# Test cases per operation and phase.
examples=25
# A run takes well under a minute on an idle machine; this is the end of patience.
patience_seconds=240

work=$(mktemp -d)
server=
drain=
# shellcheck disable=SC2317 # the trap below calls it
stop() {
    local status=$?
    trap - EXIT
    if [[ -n $server ]]; then
        kill -TERM "$server" 2>/dev/null || true
        # By its status, too, is a stop known to be graceful.
        wait "$server" 2>/dev/null || {
            echo "the server did not stop cleanly" >&2
            ((status)) || status=1
        }
    fi
    # Its input ends with the server.
    [[ -z $drain ]] || wait "$drain" 2>/dev/null || true
    if ((status)); then
        if [[ -s $work/server.log ]]; then
            echo "--- last lines of the server's log"
            tail -n 20 "$work/server.log"
            echo "---"
        fi
        echo "schemathesis: FAILED, exit status $status"
    fi >&2
    rm -rf "$work"
    exit "$status"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# All calls come from one address, so the per-address limit would be all we test.
export WOTP_LIMITS__PER_IP_PER_SECOND=0
export WOTP_LOG__LEVEL=${WOTP_LOG__LEVEL:-warn}
# Whatever is called, nobody outside is: there is nobody at this address.
export WOTP_CHANNELS__WHATSAPP__URL=ws://127.0.0.1:9 WOTP_CHANNELS__WHATSAPP__VERSION=2.3000.1026131876

key=$("$wotp" tenant create schemathesis --plan unlimited --data "$work/data" --json |
    "$python" -c 'import json, sys; print(json.load(sys.stdin)["test_key"])')

# A pipe, because the server says on stdout where it listens, and goes on talking.
mkfifo "$work/stdout"
"$wotp" serve --data "$work/data" --listen 127.0.0.1:0 >"$work/stdout" 2>"$work/server.log" &
server=$!
exec 3<"$work/stdout"
url=
while read -r -t 30 -u 3 line; do
    case $line in
        *"listening on http"*)
            url=http${line##*listening on http}
            break
            ;;
    esac
done
[[ -n $url ]] || {
    echo "the server did not say where it listens" >&2
    exit 1
}
cat <&3 >/dev/null &
drain=$!
exec 3<&-

repeatable=(--generation-deterministic)
[[ -z ${SCHEMATHESIS_RANDOM:-} ]] || repeatable=(--generation-database none)

# In the work folder, where no configuration file but ours is found and nothing is left behind.
cd "$work"
# What the schema forbids may be too large besides: 413 refuses it as well, and is documented wherever it
# is answered. The rest is what schemathesis takes for a refusal.
cat >schemathesis.toml <<'END'
[checks.negative_data_rejection]
expected-statuses = [
    "400", "401", "403", "404", "405", "406", "409", "413", "415", "422", "428", "429", "5xx",
]
END
status=0
# One worker: two threads that parse Python at one moment confuse CPython 3.11's count of how deep it is
# ("AST constructor recursion depth mismatch"), which fails the run for nothing of ours.
timeout --signal=INT --kill-after=10 "$patience_seconds" \
    "$python" -m schemathesis.cli run "$url/openapi.json" \
    --header "Authorization: Bearer $key" \
    --exclude-path /v1/events/stream \
    --checks "$(IFS=,; echo "${checks[*]}")" \
    --max-examples "$examples" "${repeatable[@]}" \
    --request-timeout 10 --workers 1 \
    --continue-on-failure --wait-for-schema 10 --no-color \
    "$@" </dev/null || status=$?

if ! kill -0 "$server" 2>/dev/null; then
    echo "schemathesis: the server is gone" >&2
    exit 1
fi
case $status in
    0) echo "schemathesis: every promise of the document was kept" ;;
    124) echo "schemathesis: not done after $patience_seconds s" >&2 ;;
esac
exit "$status"
