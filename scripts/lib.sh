# What the scripts share: the repository's folder, a progress line for long steps, and errors that name the way out.
# shellcheck shell=bash
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV="$ROOT/.venv"
PYTHON="$VENV/bin/python"

say() { printf '%s\n' "$*" >&2; }

# fail WHAT HAPPENED / WHAT TO DO
fail() {
  say ""
  say "failed: $1"
  [ -n "${2:-}" ] && say "way out: $2"
  exit 1
}

# step "what is being done" COMMAND...: one line with a running clock; the command's output only if it fails.
step() {
  local what=$1 log pid started=$SECONDS status=0
  shift
  log=$(mktemp)
  "$@" >"$log" 2>&1 </dev/null &
  pid=$!
  if [ -t 2 ]; then
    while kill -0 "$pid" 2>/dev/null; do
      printf '\r  .. %s (%d s)' "$what" $((SECONDS - started)) >&2
      sleep 0.5
    done
    printf '\r\033[K' >&2
  else
    say "  .. $what"
  fi
  wait "$pid" || status=$?
  if [ "$status" -eq 0 ]; then
    say "  ok $what ($((SECONDS - started)) s)"
  else
    tail -n 25 "$log" >&2
    say "  no $what (exit $status)"
  fi
  rm -f "$log"
  return "$status"
}

# apt_install PACKAGE...: only those that are missing, only as root.
apt_install() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  command -v apt-get >/dev/null || fail "these are needed: ${missing[*]}" "install them with this system's package manager"
  [ "$(id -u)" -eq 0 ] || fail "these Debian packages are needed: ${missing[*]}" \
    "run as root once, or: sudo apt-get install ${missing[*]}"
  step "package lists" apt-get update -q || fail "apt-get update" "check the network and the apt sources"
  step "packages: ${missing[*]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends "${missing[@]}" ||
    fail "installing ${missing[*]}" "see the lines above; a lock means that another apt is running"
}

# The machine's own Asterisk serves the demo if it is 18 or newer; only its programs are used, never its process.
host_asterisk_is_usable() {
  command -v asterisk >/dev/null || return 1
  [ "$(asterisk -V | sed -E 's/^Asterisk (certified\/)?([0-9]+).*/\2/')" -ge 18 ]
}

# docker_engine: Docker's engine answers, or is started and left running.
docker_engine() {
  docker info >/dev/null 2>&1 && return
  [ "$(id -u)" -eq 0 ] || fail "Docker's engine does not answer" "start it: systemctl start docker; or join the group docker"
  setsid dockerd >/var/log/dockerd.log 2>&1 </dev/null &
  local tries=100
  until docker info >/dev/null 2>&1; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || fail "Docker's engine did not start" "see /var/log/dockerd.log"
    sleep 0.2
  done
}
