#!/usr/bin/env bash
# launch/tpu.sh --name=NAME --zone=ZONE --type=TYPE [flags] COMMAND...
#
# The command on every host of a Cloud TPU slice: asks for the slice (a queued resource), installs
# this checkout on all hosts, starts the command on all, follows the log of the first, starts it
# again after a preemption (on a new slice) and after a crash, and deletes the slice at the end.
# It goes on where it is: given again, it follows what runs.
#
#   --name=NAME            of the queued resource, and of its nodes
#   --zone=ZONE            as in: us-west4-a
#   --type=TYPE            accelerator type, as in: v5litepod-16, v5p-32, v6e-16
#   --project=PROJECT      default: gcloud's
#   --spot                 cheaper, and may be taken away at any time
#   --slices=N             several slices as one machine; default 1
#   --runtime=VERSION      default: the one that Google names for the type
#   --extras=A,B           of capjax, to install; default tpu,gs
#   --setup=COMMAND        on every host after the install, as in: mount the data
#   --create-flag=FLAG     one more flag of `gcloud compute tpus queued-resources create`; repeatable
#   --ssh-flag=FLAG        one more of `... ssh` and `... scp`, as in: --internal-ip; repeatable
#   --retries=N            in a row, after crashes and failed requests, not after preemptions; default 5
#   --keep                 leaves the slice at the end; it costs until --delete
#   --log                  only follows the log
#   --delete               stops the command, which saves, and deletes the slice
#   --dry-run              prints every command and runs none
#
# Read against https://cloud.google.com/tpu/docs/queued-resources, .../spot, .../jax-pods, .../runtimes
# and the reference of `gcloud compute tpus queued-resources`.
set -u

here=$(cd "$(dirname "$0")/.." && pwd)
name='' zone='' type='' project='' runtime='' setup='' extras=tpu,gs
slices=1 retries=5 action=run keep=false dry=false
tier=() more_create=() more_ssh=()
poll=${TPU_POLL:-30} # seconds between questions for the state
stopped=75

wrong() {
  echo "launch/tpu.sh: $1" >&2
  exit 2
}

say() { $dry || echo "launch/tpu.sh: $1" >&2; }

while [ $# -gt 0 ]; do
  case $1 in
  --name=*) name=${1#*=} ;;
  --zone=*) zone=${1#*=} ;;
  --type=*) type=${1#*=} ;;
  --project=*) project=${1#*=} ;;
  --runtime=*) runtime=${1#*=} ;;
  --slices=*) slices=${1#*=} ;;
  --extras=*) extras=${1#*=} ;;
  --setup=*) setup=${1#*=} ;;
  --retries=*) retries=${1#*=} ;;
  --create-flag=*) more_create+=("${1#*=}") ;;
  --ssh-flag=*) more_ssh+=("${1#*=}") ;;
  --spot) tier=(--spot) ;;
  --keep) keep=true ;;
  --dry-run) dry=true ;;
  --log | --delete) action=${1#--} ;;
  --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" && exit 0 ;;
  -*) wrong "$1 is no flag; launch/tpu.sh --help names them" ;;
  *) break ;;
  esac
  shift
done

[[ $name =~ ^[a-z]([-a-z0-9]{0,60}[a-z0-9])?$ ]] ||
  wrong "--name='$name' must be lower-case letters, digits and hyphens, a letter first"
[ -n "$zone" ] || wrong "--zone is missing; give the zone of the TPU, as in --zone=us-west4-a"
[[ $slices =~ ^[1-9][0-9]*$ ]] || wrong "--slices=$slices must be a whole number from 1 on"
[[ $retries =~ ^[0-9]+$ ]] || wrong "--retries=$retries must be a whole number from 0 on"
if [ "$action" = run ]; then
  [ -n "$type" ] || wrong "--type is missing; give the accelerator type, as in --type=v5litepod-16"
  [ $# -gt 0 ] || wrong "the command is missing, as in: python -m capjax.train --config=configs/gan.py --workdir=gs://BUCKET/DIR"
fi
if [ -z "$runtime" ]; then
  case $type in
  v6e-*) runtime=v2-alpha-tpuv6e ;;
  v5p-*) runtime=v2-alpha-tpuv5 ;;
  v5litepod-*) runtime=v2-alpha-tpuv5-lite ;;
  v[234]-* | '') runtime=tpu-ubuntu2204-base ;;
  *) wrong "no runtime is known for --type=$type; give --runtime" ;;
  esac
fi
# A run that was stopped is to be told from one that has finished.
case " $* " in
*" capjax.train "*" --stop_status"*) ;;
*" capjax.train "*) set -- "$@" --stop_status=$stopped ;;
esac

# The words as a shell would have to be given them.
quoted() {
  local word line=
  for word in "$@"; do
    [[ $word =~ ^[A-Za-z0-9_./:=,@+~-]+$ ]] || word="'${word//\'/\'\\\'\'}'"
    line="$line $word"
  done
  printf '%s' "${line# }"
}

# Prints a command, and runs it. What a dry run prints is its output.
if $dry; then exec 3>&1; else exec 3>&2; fi
call() {
  quoted "$@" >&3
  echo >&3
  $dry || "$@"
}
note() { ! $dry || echo "# $1" >&3; }

where=(--zone="$zone")
[ -z "$project" ] || where+=(--project="$project")
resources=(gcloud compute tpus queued-resources)
nodes=(--node-id="$name")
[ "$slices" -eq 1 ] || nodes=(--node-count="$slices" --node-prefix="$name")
all=(--node=all --worker=all --batch-size=all)

on_hosts() { # which of them, command
  call "${resources[@]}" ssh "$name" "${where[@]}" --quiet "${more_ssh[@]+"${more_ssh[@]}"}" "${@:1:$#-1}" \
    --command="${!#}"
}
on_all() { on_hosts "${all[@]}" "$1"; }
on_first() { on_hosts --node=0 --worker=0 "$1"; }
host() { quoted bash capjax/launch/tpu-host.sh "$@"; }

create() {
  call "${resources[@]}" create "$name" "${where[@]}" --quiet --accelerator-type="$type" \
    --runtime-version="$runtime" "${nodes[@]}" "${tier[@]+"${tier[@]}"}" "${more_create[@]+"${more_create[@]}"}"
}

delete() { call "${resources[@]}" delete "$name" "${where[@]}" --quiet --force; }

# The request's state into $state: NONE where there is no such request, UNKNOWN where nobody answers.
ask_state() {
  local told was=${state:-}
  if $dry; then
    call "${resources[@]}" describe "$name" "${where[@]}" --format='value(state.state)'
    state=${state:-NONE}
    return
  fi
  if told=$("${resources[@]}" describe "$name" "${where[@]}" --format='value(state.state)' 2>&1); then
    state=${told##*$'\n'}
  else
    case $told in
    *NOT_FOUND*) state=NONE ;;
    *)
      state=UNKNOWN
      [ "$was" = UNKNOWN ] || say "$told"
      ;;
    esac
  fi
  [ "$state" = "$was" ] || say "$name is $state"
}

failures=0
fail() { # why
  failures=$((failures + 1))
  say "$1 ($failures of at most $retries retries)"
  [ "$failures" -le "$retries" ] || finish 1 "given up"
  sleep "$poll"
}

finish() { # exit status, why
  say "$2"
  if $keep; then
    say "a slice that is there costs, until: launch/tpu.sh --name=$name $(quoted "${where[@]}") --delete"
  else
    delete
  fi
  exit "$1"
}

# Until the slice is there, asking for it where it is not. $ready: what is installed on it is ours.
ready=false
was_there=false
have_slice() {
  while :; do
    ask_state
    case $state in
    ACTIVE)
      was_there=true
      return
      ;;
    NONE)
      ready=false
      create || fail "the request was refused"
      if $dry; then
        note "until it is ACTIVE, every $poll seconds; SUSPENDED is preempted, FAILED a failure: delete, create"
        state=ACTIVE
      else
        sleep "$poll"
      fi
      ;;
    SUSPENDED)
      if $was_there; then say "preempted; asking for another"; else fail "suspended before it was there"; fi
      was_there=false
      delete
      ;;
    FAILED)
      fail "the request has failed"
      delete
      ;;
    *) sleep "$poll" ;;
    esac
  done
}

# The checkout as it lies here when this begins, without files that git does not know.
archive=capjax.tar.gz
pack() {
  local tree=
  if ! $dry; then
    archive=$(mktemp)
    trap 'rm -f "$archive"' EXIT
    tree=$(git -C "$here" stash create)
  fi
  call git -C "$here" archive --format=tar.gz --output="$archive" "${tree:-HEAD}" ||
    wrong "$here is no checkout of git's; clone capjax and start from there"
}

install() {
  call "${resources[@]}" scp "$archive" "$name:capjax.tar.gz" "${where[@]}" --quiet \
    "${more_ssh[@]+"${more_ssh[@]}"}" "${all[@]}" &&
    on_all "mkdir -p capjax && tar -xzf capjax.tar.gz -C capjax && $(host install "$extras")${setup:+ && cd capjax && $setup}"
}

# The log of the first host, until the command has ended there; 1 where the host is out of reach.
follow() {
  local lines=+1 silent=0 begun
  while begun=$SECONDS && ! on_first "$(host follow "$lines")"; do
    lines=20
    [ $((SECONDS - begun)) -lt 60 ] || silent=0
    silent=$((silent + 1))
    ask_state
    [ "$state" = ACTIVE ] && [ "$silent" -le 20 ] || return 1
    sleep "$poll"
  done
}

case $action in
log)
  follow
  exit
  ;;
delete)
  on_all "$(host stop)" || say "the hosts did not answer"
  delete
  exit
  ;;
esac

# What the hosts say of themselves by `capjax-host: WORD ...`, a line each; 1 where one cannot be asked.
told_by_all() { # command, word
  local told
  if $dry; then on_all "$1"; else
    told=$(on_all "$1") && sed -n "s/.*capjax-host: $2 *//p" <<<"$told"
  fi
}

pack
trap 'say "left; the command goes on, the same line follows it again, --delete ends both"; exit 130' INT
while :; do
  have_slice
  if ! $ready; then
    note "where the slice was there before: on the first host, bash capjax/launch/tpu-host.sh alive"
    $dry || ! on_first "$(host alive)" && ! install && fail "the hosts could not be prepared" && continue
    ready=true
  fi
  since=$SECONDS
  # Where it runs already nothing happens. gcloud passes over slices that it cannot ask.
  if ! started=$(told_by_all "$(host start "$@")" started); then
    fail "the command could not be started"
    continue
  fi
  if ! follow; then
    # Deleted by hand it stays so; what was preempted, the next turn sees.
    [ "$state" != NONE ] || { keep=true && finish 1 "the slice was deleted"; }
    [ "$state" != ACTIVE ] || { fail "the first host is out of reach" && delete; }
    continue
  fi
  ended=$(told_by_all "$(host end)" ended) || ended=unknown
  [ "$(wc -l <<<"$ended")" -eq "$(wc -l <<<"$started")" ] || ended=unknown
  ended=$(sort -u <<<"$ended" | tr '\n' ' ')
  if $dry; then
    note "all 0: finished; any 2: refused; all $stopped: stopped, start again; else crashed: start again, at most $retries times"
    ended='0 '
  fi
  case " $ended" in
  ' 0 ') finish 0 "finished" ;;
  *' 2 '*) finish 2 "the command was refused (status 2); not tried again" ;;
  " $stopped ") say "stopped; going on" && sleep "$poll" ;;
  *)
    [ $((SECONDS - since)) -lt 3600 ] || failures=0 # it went well for long
    [ "$ended" != 'unknown ' ] || { sleep "$poll" && ask_state; }
    [ "$state" != ACTIVE ] || fail "crashed (statuses: $ended)"
    ;;
  esac
done
