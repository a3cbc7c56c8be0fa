#!/usr/bin/env bash
# launch/local.sh N COMMAND...: the command in N processes on this machine, as N hosts would run it.
#
# SIGTERM and SIGINT go to all of them. Ends with the worst (the largest) of their exit statuses, and
# leaves none behind: where one has failed and others go on, they are ended after $LOCAL_PATIENCE
# seconds (default 60), which is more than capjax needs to end by itself.
set -u

if [ $# -lt 2 ] || ! [[ $1 =~ ^[1-9][0-9]{0,3}$ ]]; then
  echo "launch/local.sh: give a number of processes and the command, as in launch/local.sh 2 python -m capjax.train --config=configs/gan.py" >&2
  exit 2
fi
number=$1
shift

# Below the ports that systems give to outgoing connections, and nobody answers there.
free_port() {
  local port
  while port=$((20000 + RANDOM % 10000)) && (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
  echo "$port"
}

running=() # the processes, each the leader of a group of its own
worst=0
passed=

pass_on() {
  passed=$1
  for leader in "${running[@]}"; do kill "-$1" -- "-$leader" 2>/dev/null; done
}

is_alive() { kill -0 -- "-$1" 2>/dev/null; }

# Ends what is left of all groups: after a command that has failed, or that left children.
end_all() {
  local since=$SECONDS
  pass_on TERM
  while [ $((SECONDS - since)) -lt 30 ]; do
    for leader in "${running[@]}"; do
      if is_alive "$leader"; then
        sleep 0.1
        continue 2
      fi
    done
    return
  done
  echo "launch/local.sh: what had not ended 30 s after SIGTERM is killed" >&2
  pass_on KILL
}

trap 'pass_on TERM' TERM HUP
trap 'pass_on INT' INT

JAX_COORDINATOR_ADDRESS=127.0.0.1:$(free_port)
export JAX_COORDINATOR_ADDRESS JAX_NUM_PROCESSES="$number"
set -m # a group for each
for ((rank = 0; rank < number; rank++)); do
  JAX_PROCESS_ID=$rank "$@" </dev/null &
  running+=("$!")
done
set +m
[ -z "$passed" ] || pass_on "$passed" # what came while they started

waiting=("${running[@]}")
failed_at=
while [ ${#waiting[@]} -gt 0 ]; do
  still=()
  for leader in "${waiting[@]}"; do
    if kill -0 "$leader" 2>/dev/null; then
      still+=("$leader")
      continue
    fi
    wait "$leader"
    status=$?
    [ "$status" -le "$worst" ] || worst=$status
    [ "$status" -eq 0 ] || failed_at=${failed_at:-$SECONDS}
  done
  waiting=("${still[@]+"${still[@]}"}")
  if [ -n "$failed_at" ] && [ $((SECONDS - failed_at)) -ge "${LOCAL_PATIENCE:-60}" ]; then
    [ ${#waiting[@]} -eq 0 ] || end_all
  fi
  [ ${#waiting[@]} -eq 0 ] || sleep 0.2
done
end_all
exit "$worst"
