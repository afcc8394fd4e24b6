#!/usr/bin/env bash
# OpenSSH's sshd with internal-sftp, on loopback, with keys of its own. Fields and commands: README.md beside this file.
#
#   sshd.sh start DIR [--owner-pid PID] [--extra 'SshdLine']...
#
# --extra lines come before ours, and sshd takes the first value it reads; from the first `Match` on they come last.
# shellcheck source=server.sh
. "$(dirname "$0")/server.sh"

sshd=/usr/sbin/sshd
passphrase='correct horse battery staple'
password_user=waybill-sftp
password_file=/var/lib/$password_user/password # one per machine, as the account is; only root reads it
stop_signal=KILL                               # nothing of its state is worth an orderly end, and its sessions must end with it

# Root's own password is not ours to change: password logins use an account without a shell. Only root can make it, and
# only root's sshd can check it.
make_password_user() {
  (
    flock 8
    if ! id "$password_user" >/dev/null 2>&1; then
      useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$password_user"
    fi
    if ! [ -s "$password_file" ]; then
      mkdir -p "${password_file%/*}"
      chmod 700 "${password_file%/*}"
      (umask 077 && openssl rand -hex 24 >"$password_file.new")
      printf '%s:%s\n' "$password_user" "$(cat "$password_file.new")" | chpasswd
      mv "$password_file.new" "$password_file"
    fi
  ) 8>"/run/lock/$password_user.lock"
}

new_key() { # FILE PASSPHRASE COMMENT TYPE...
  rm -f "$1"
  ssh-keygen -q -f "$1" -N "$2" -C "$3" -t "${@:4}"
}

configure() {
  [ -x "$sshd" ] || die "no $sshd: run tests/servers/prepare.sh"
  local extra=() matches=() line made=()
  while [ $# -gt 0 ]; do
    [ "$1" = --extra ] || die "no such option: $1"
    if [ ${#matches[@]} -gt 0 ] || [[ ${2,,} == match* ]]; then matches+=("$2"); else extra+=("$2"); fi
    shift 2
  done
  mkdir -p "$dir/files" "$dir/keys"
  chmod 700 "$dir/keys"
  new_key "$dir/keys/host_ed25519" '' host ed25519 & made+=($!)
  new_key "$dir/keys/host_ecdsa" '' host ecdsa -b 256 & made+=($!)
  new_key "$dir/keys/host_rsa" '' host rsa -b 2048 & made+=($!)
  new_key "$dir/keys/client_ed25519" '' client ed25519 & made+=($!)
  new_key "$dir/keys/client_ecdsa" '' client ecdsa -b 256 & made+=($!)
  new_key "$dir/keys/client_rsa" '' client rsa -b 2048 & made+=($!)
  new_key "$dir/keys/client_encrypted" "$passphrase" client ed25519 & made+=($!)
  new_key "$dir/keys/stranger" '' stranger ed25519 & made+=($!) # not authorised here, and no host key of this server
  for line in "${made[@]}"; do wait "$line"; done
  cat "$dir/keys/"client_*.pub >"$dir/authorized_keys"
  chmod 644 "$dir/authorized_keys" # read as the user who logs in

  local pam=no
  if [ "$(id -u)" = 0 ]; then
    mkdir -p /run/sshd # where its unprivileged half lives; it insists
    make_password_user
    reachable "$password_user" "$dir"
    chown "$password_user:" "$dir/files"
    # Without PAM, sshd lets nobody in whose password field begins with '!'. Root's does on some systems.
    case $(getent shadow root | cut -d: -f2) in '!'*) pam=yes ;; esac
  fi
  # Of this one, sshd 9 takes the last value that it reads.
  local startups='MaxStartups 1000'
  for line in "${extra[@]}"; do
    if [[ $line == MaxStartups* ]]; then startups=$line; fi
  done
  {
    for line in "${extra[@]}"; do printf '%s\n' "$line"; done
    cat <<CONFIG
ListenAddress 127.0.0.1
HostKey $dir/keys/host_ed25519
HostKey $dir/keys/host_ecdsa
HostKey $dir/keys/host_rsa
PidFile none
AuthorizedKeysFile $dir/authorized_keys
StrictModes no
UsePAM $pam
UseDNS no
PermitRootLogin prohibit-password
PubkeyAuthentication yes
PasswordAuthentication yes
KbdInteractiveAuthentication no
MaxSessions 1000
$startups
PrintMotd no
LogLevel VERBOSE
CONFIG
    if ! printf '%s\n' "${extra[@]}" | grep -qiE '^[[:space:]]*Subsystem[[:space:]]+sftp'; then
      echo "Subsystem sftp internal-sftp -d $dir/files"
    fi
    for line in "${matches[@]}"; do printf '%s\n' "$line"; done
  } >"$dir/sshd_config"
  # From 9.8 on a server shuts out an address after failed logins; tests fail logins on purpose, all from one address.
  if "$sshd" -t -f "$dir/sshd_config" -o PerSourcePenalties=no 2>/dev/null; then
    sed -i '1i PerSourcePenalties no' "$dir/sshd_config"
  fi
  "$sshd" -t -f "$dir/sshd_config" || die "sshd refuses its configuration, $dir/sshd_config"
}

launch() {
  exec setsid "$sshd" -D -e -f "$dir/sshd_config" -o "Port=$1"
}

# Our own log says that this process has the port; then its banner says that it serves.
answers() {
  local banner=''
  grep -q "^Server listening on 127.0.0.1 port $1\." "$dir/log" || return 1
  { read -rt 5 banner <"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null || return 1
  [[ $banner == SSH-2.0-* ]]
}

# known_hosts in the forms that OpenSSH writes and reads. `wrong` names this server with another's key.
write_known_hosts() {
  local port=$1 at=$dir/known_hosts name key
  if grep -qs ":$port," "$at/port"; then return; fi # restarted: a client may be reading them
  rm -rf "$at"
  mkdir "$at"
  for key in "$dir/keys/"host_*.pub; do
    name=$(cut -d' ' -f1,2 "$key")
    echo "127.0.0.1,localhost $name" >>"$at/plain"
    echo "[127.0.0.1]:$port,[localhost]:$port $name" >>"$at/port"
  done
  echo "[127.0.0.1]:$port,[localhost]:$port $(cut -d' ' -f1,2 "$dir/keys/stranger.pub")" >"$at/wrong"
  for name in plain port; do
    cp "$at/$name" "$at/hashed_$name"
    ssh-keygen -q -H -f "$at/hashed_$name" >/dev/null 2>&1
    rm -f "$at/hashed_$name.old"
  done
}

fingerprint() { ssh-keygen -lf "$1" | cut -d' ' -f2; }

describe() {
  local user=null password=null type hosts=() keys=$dir/keys known=$dir/known_hosts
  write_known_hosts "$1"
  if [ "$(id -u)" = 0 ]; then user=$password_user password=$(cat "$password_file"); fi
  for type in ed25519 ecdsa rsa; do
    hosts+=("$type" "$(json public "$(cut -d' ' -f1,2 "$keys/host_$type.pub")" \
      fingerprint "$(fingerprint "$keys/host_$type.pub")")")
  done
  json server sshd version "$("$sshd" -V 2>&1 | sed -n 's/^\(OpenSSH_[^ ,]*\).*/\1/p')" host 127.0.0.1 port "$1" pid "$2" \
    user "$(id -un)" folder "$dir/files" \
    key "$keys/client_ed25519" key_ecdsa "$keys/client_ecdsa" key_rsa "$keys/client_rsa" \
    key_encrypted "$keys/client_encrypted" passphrase "$passphrase" key_stranger "$keys/stranger" \
    password_user "$user" password "$password" \
    fingerprint "$(fingerprint "$keys/host_ed25519.pub")" host_keys "$(json "${hosts[@]}")" \
    known_hosts "$(json plain "$known/plain" port "$known/port" hashed_plain "$known/hashed_plain" \
      hashed_port "$known/hashed_port" wrong "$known/wrong")" \
    config "$dir/sshd_config" log "$dir/log"
  echo
}

serve_command "$@"
