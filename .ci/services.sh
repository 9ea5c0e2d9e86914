#!/bin/sh
# Install what the broker and postgres tests start by themselves: mosquitto and PostgreSQL. Safe to run again.
# Says what is missing and still succeeds where it can't install: those tests are then skipped, with the reason.
set -u

PATH="$PATH:/usr/sbin:/usr/local/sbin"

find_initdb() {
    command -v initdb 2>/dev/null && return 0
    for found in /usr/lib/postgresql/*/bin/initdb; do
        [ -x "$found" ] && echo "$found" && return 0
    done
    return 1
}

missing=""
command -v mosquitto >/dev/null 2>&1 || missing="$missing mosquitto"
find_initdb >/dev/null || missing="$missing postgresql"

if [ -n "$missing" ]; then
    if [ "$(id -u)" -ne 0 ]; then
        echo "services:$missing not installed, and only root can install them" >&2
    elif ! command -v apt-get >/dev/null 2>&1; then
        echo "services:$missing not installed, and there is no apt-get" >&2
    else
        export DEBIAN_FRONTEND=noninteractive
        # Nothing may start by itself: the tests run their own servers on free ports.
        policy=/usr/sbin/policy-rc.d
        if [ ! -e "$policy" ]; then
            printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
            trap 'rm -f "$policy"' EXIT
        fi
        # shellcheck disable=SC2086  # a list of package names
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing; } >/tmp/services.log 2>&1 \
            || { echo "services: apt-get could not install$missing:" >&2; tail -n 3 /tmp/services.log >&2; }
    fi
fi

if found=$(command -v mosquitto); then
    echo "services: mosquitto at $found"
else
    echo "services: no mosquitto; tests marked broker are skipped"
fi
if found=$(find_initdb); then
    echo "services: PostgreSQL at $(dirname "$found")"
else
    echo "services: no PostgreSQL; tests marked postgres are skipped"
fi
exit 0
