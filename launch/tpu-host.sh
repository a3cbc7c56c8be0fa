#!/usr/bin/env bash
# What launch/tpu.sh asks of each host of a TPU slice: tpu-host.sh install|start|alive|follow|end|stop
#
#   install EXTRAS     a Python that capjax runs on, and capjax from ~/capjax with these extras
#   start COMMAND...   in the background, its output to a file; where it runs already, nothing
#   alive              exit status 0 while the command runs
#   follow LINES       what it has said, LINES of it at first, and what it says, until it ends
#   end                waits for its end, of which it is near; ends it where it is not
#   stop               SIGTERM: capjax saves and ends
# The last two print `capjax-host: ended STATUS`, start prints `capjax-host: started HOME`.
set -eu

home=$HOME/capjax-launch
venv=$HOME/capjax-venv
mkdir -p "$home"

# A process number of before a reboot is someone else's.
boot() { cat /proc/sys/kernel/random/boot_id 2>/dev/null || echo unknown; }

alive() {
  local process booted
  [ -e "$home/process" ] && read -r process booted <"$home/process" &&
    [ "$booted" = "$(boot)" ] && kill -0 -- "-$process" 2>/dev/null
}

signal() {
  local process _
  read -r process _ <"$home/process" && kill "-$1" -- "-$process" 2>/dev/null || true
}

# Whether it ends within so many seconds.
ends_within() {
  local second
  for ((second = 0; second < $1; second++)); do
    alive || return 0
    sleep 1
  done
  ! alive
}

# Its exit status; 1 where it was killed together with the shell that waits for it.
tell_status() {
  echo "capjax-host: ended $(cat "$home/status" 2>/dev/null || echo 1)"
}

case "${1:-}" in
install)
  # Google's images have Python 3.10; uv brings the one that is asked for.
  command -v "$HOME/.local/bin/uv" >/dev/null || curl -LsSf https://astral.sh/uv/install.sh | sh
  [ -e "$venv" ] || "$HOME/.local/bin/uv" venv --python 3.12 "$venv"
  "$HOME/.local/bin/uv" pip install --python "$venv/bin/python" --editable "$HOME/capjax${2:+[$2]}"
  ;;
start)
  shift
  echo "capjax-host: started $HOME"
  alive && exit 0
  rm -f "$home/status"
  cd "$HOME/capjax"
  export CAPJAX_JOIN_SECONDS=300 # how long a host waits for the others
  # The shell outlives SIGTERM to the whole group, to write down how the command ended.
  # shellcheck disable=SC2016
  PATH=$venv/bin:$PATH setsid bash -c '
    trap : TERM
    echo "$$ $1" >"$0/process"
    shift
    "$@"
    echo $? >"$0/status"
  ' "$home" "$(boot)" "$@" >>"$home/log" 2>&1 </dev/null &
  for _ in {1..50}; do # until it can be asked after
    alive || [ -e "$home/status" ] && break
    sleep 0.1
  done
  ;;
alive) alive ;;
follow)
  if alive; then
    read -r process _ <"$home/process"
    tail --lines="$2" --pid="$process" --follow=name "$home/log"
  else
    tail --lines="$2" "$home/log"
  fi
  ;;
end)
  ends_within "${END_WITHIN:-90}" || signal TERM
  ends_within 30 || signal KILL
  tell_status
  ;;
stop)
  ! alive || signal TERM
  ends_within 30 || signal KILL
  tell_status
  ;;
*)
  sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
  exit 2
  ;;
esac
