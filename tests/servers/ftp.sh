#!/usr/bin/env bash
# ProFTPD, pure-ftpd and pyftpdlib (with MLSD) and vsftpd (without), on loopback, each with an account and certificates of its
# own. Fields and commands: README.md beside this file.
#
#   ftp.sh start DIR [--owner-pid PID] --server proftpd|proftpd-sftp|vsftpd|pureftpd|pyftpdlib [--tls explicit|implicit] [--client-certificate]
#                    [--extra 'line of its configuration']...
#
# With --tls, a login and data in the clear are refused; with ProFTPD and vsftpd data connections must resume the TLS session.
# pure-ftpd is configured by options: each --extra is one or more of them.
# shellcheck source=server.sh
. "$(dirname "$0")/server.sh"

proftpd=/usr/sbin/proftpd
vsftpd=$cache/vsftpd/usr/sbin/vsftpd # Debian lets only one FTP server be installed
pureftpd=$cache/pure-ftpd/usr/sbin/pure-ftpd
purepw=$cache/pure-ftpd/usr/bin/pure-pw
python=$cache/venv/bin/python
stop_signal=KILL                     # nothing of its state is worth an orderly end, and its sessions must end with it

# The account whose files these are; a server that root starts leaves root's rights. vsftpd wants its home directory.
account() { if [ "$(id -u)" = 0 ]; then echo daemon; else id -un; fi; }

make_certificates() {
  local keys=$dir/keys
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
    -addext 'subjectAltName=IP:127.0.0.1,DNS:localhost' -keyout "$keys/server.key" -out "$keys/server.pem" 2>/dev/null
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=client \
    -keyout "$keys/client.key" -out "$keys/client.pem" 2>/dev/null
}

write_proftpd() { # TLS CLIENT
  [ -x "$proftpd" ] || die "no $proftpd: run tests/servers/prepare.sh"
  local user group
  user=$(account) group=$(id -gn "$(account)")
  printf '%s:%s:%s:%s::%s:/bin/sh\n' acme "$(openssl passwd -6 "$(cat "$dir/password")")" \
    "$(id -u "$user")" "$(id -g "$user")" "$dir/root" >"$dir/users"
  chmod 640 "$dir/users"
  {
    cat <<CONFIG
ModulePath /usr/lib/proftpd
LoadModule mod_tls.c
ServerType standalone
ServerName test
DefaultAddress 127.0.0.1
SocketBindTight on
UseIPv6 off
Port @PORT@
User $user
Group $group
PidFile $dir/own/pid
ScoreboardFile $dir/own/scoreboard
DelayTable $dir/own/delay
DelayEngine off
WtmpLog off
TransferLog none
SystemLog $dir/own/system.log
UseReverseDNS off
UseEncoding off
AuthPAM off
AuthOrder mod_auth_file.c
AuthUserFile $dir/users
RequireValidShell off
MaxLoginAttempts 3
DefaultRoot $dir/root
AllowOverwrite on
AllowStoreRestart on
AllowRetrieveRestart on
TimeoutIdle 600
CONFIG
    if [ -n "$1" ]; then
      cat <<CONFIG
TLSEngine on
TLSRequired on
TLSProtocol TLSv1.2 TLSv1.3
TLSECCertificateFile $dir/keys/server.pem
TLSECCertificateKeyFile $dir/keys/server.key
TLSLog $dir/own/tls.log
CONFIG
      if [ "$1" = implicit ]; then echo 'TLSOptions UseImplicitSSL'; fi
      if [ -n "$2" ]; then printf 'TLSVerifyClient on\nTLSCACertificateFile %s\n' "$dir/keys/client.pem"; fi
    fi
  } >"$dir/config"
}

# SFTP in the stead of FTP, by the same server.
write_sftp() {
  ssh-keygen -q -t ecdsa -b 256 -m PEM -N '' -f "$dir/keys/host"
  cat >>"$dir/config" <<CONFIG
LoadModule mod_sftp.c
SFTPEngine on
SFTPHostKey $dir/keys/host
SFTPAuthMethods password
SFTPLog $dir/own/sftp.log
CONFIG
}

write_vsftpd() { # TLS CLIENT
  [ -x "$vsftpd" ] || die "no $vsftpd: run tests/servers/prepare.sh"
  cp "$dir/password" "$dir/passwords" # of anonymous logins: an account of its own would need the system's PAM
  local running=NO
  if [ "$(id -u)" != 0 ]; then running=YES; fi
  {
    cat <<CONFIG
background=NO
listen=YES
listen_address=127.0.0.1
run_as_launching_user=$running
nopriv_user=$(account)
ftp_username=$(account)
secure_chroot_dir=$dir/own/empty
seccomp_sandbox=NO
isolate_network=NO
anonymous_enable=YES
local_enable=NO
write_enable=YES
secure_email_list_enable=YES
email_password_file=$dir/passwords
anon_root=$dir/root
anon_upload_enable=YES
anon_mkdir_write_enable=YES
anon_other_write_enable=YES
anon_world_readable_only=NO
anon_umask=022
port_enable=YES
connect_from_port_20=NO
delay_failed_login=0
xferlog_enable=YES
log_ftp_protocol=YES
vsftpd_log_file=$dir/own/system.log
CONFIG
    if [ -n "$1" ]; then
      cat <<CONFIG
ssl_enable=YES
allow_anon_ssl=YES
force_anon_logins_ssl=YES
force_anon_data_ssl=YES
require_ssl_reuse=YES
ssl_ciphers=HIGH
rsa_cert_file=$dir/keys/server.pem
rsa_private_key_file=$dir/keys/server.key
CONFIG
      if [ "$1" = implicit ]; then echo 'implicit_ssl=YES'; fi
      if [ -n "$2" ]; then printf 'require_cert=YES\nvalidate_cert=YES\nca_certs_file=%s\n' "$dir/keys/client.pem"; fi
    fi
  } >"$dir/config"
}

write_pureftpd() { # TLS: the options, one a line
  [ -x "$pureftpd" ] || die "no $pureftpd: run tests/servers/prepare.sh"
  [ "$(id -u)" = 0 ] || die "pure-ftpd wants to be started by root"
  local user password
  user=$(account) password=$(cat "$dir/password")
  printf '%s\n%s\n' "$password" "$password" |
    "$purepw" useradd acme -f "$dir/users" -u "$user" -g "$(id -gn "$user")" -d "$dir/root" >/dev/null
  # Its own hash of the password takes a second at each login.
  sed -i "s|^acme:[^:]*:|acme:$(openssl passwd -5 "$password"):|" "$dir/users"
  "$purepw" mkdb "$dir/users.pdb" -f "$dir/users"
  printf '%s\n' --login "puredb:$dir/users.pdb" --noanonymous --chrooteveryone --minuid 1 --dontresolve --displaydotfiles \
    --limitrecursion 2000000:50 --maxclientsnumber 200 --maxclientsperip 200 --pidfile "$dir/own/pid" \
    --altlog "clf:$dir/own/system.log" >"$dir/config"
  case $1 in
    '') ;;
    explicit)
      cat "$dir/keys/server.key" "$dir/keys/server.pem" >"$dir/keys/both.pem"
      printf '%s\n' --tls 3 --certfile "$dir/keys/both.pem" >>"$dir/config"
      ;;
    *) die "pure-ftpd: --tls explicit" ;;
  esac
}

write_pyftpdlib() { # TLS
  [ -x "$python" ] || die "no $python: run tests/servers/prepare.sh"
  : >"$dir/config"
  case $1 in
    '' | explicit) ;;
    *) die "pyftpdlib: --tls explicit" ;;
  esac
}

configure() {
  local server='' tls='' client='' extra=()
  while [ $# -gt 0 ]; do
    case $1 in
      --server) server=$2 && shift 2 ;;
      --tls) tls=$2 && shift 2 ;;
      --client-certificate) client=1 && shift ;;
      --extra) extra+=("$2") && shift 2 ;;
      *) die "no such option: $1" ;;
    esac
  done
  mkdir -p "$dir/root/files" "$dir/keys" "$dir/own/empty"
  chmod 700 "$dir/keys"
  openssl rand -hex 12 >"$dir/password"
  make_certificates
  if [ "$(id -u)" = 0 ]; then
    reachable "$(account)" "$dir"
    chown "$(account):" "$dir/root/files" # vsftpd refuses a root that its users may write to
  fi
  case $server in
    proftpd) write_proftpd "$tls" "$client" ;;
    proftpd-sftp) write_proftpd '' '' && write_sftp ;;
    vsftpd) write_vsftpd "$tls" "$client" ;;
    pureftpd) write_pureftpd "$tls" ;;
    pyftpdlib) write_pyftpdlib "$tls" ;;
    *) die "--server proftpd, proftpd-sftp, vsftpd, pureftpd or pyftpdlib" ;;
  esac
  # Of this one proftpd takes the first.
  if [[ " ${extra[*]}" == *' TLSRequired '* ]]; then sed -i '/^TLSRequired /d' "$dir/config"; fi
  # proftpd takes the last of other settings, vsftpd too.
  if [ ${#extra[@]} -gt 0 ]; then printf '%s\n' "${extra[@]}" >>"$dir/config"; fi
  echo "$server $tls" >"$dir/server"
}

launch() {
  local server tls
  read -r server tls <"$dir/server"
  sed "s/@PORT@/$1/" "$dir/config" >"$dir/own/config"
  case $server in
    proftpd*) exec setsid "$proftpd" --nodaemon --config "$dir/own/config" ;;
    vsftpd) exec setsid "$vsftpd" "$dir/own/config" "-olisten_port=$1" ;;
    pureftpd)
      local options=()
      mapfile -t options <"$dir/own/config"
      exec setsid "$pureftpd" --bind "127.0.0.1,$1" "${options[@]}"
      ;;
    pyftpdlib) exec setsid "$python" "$servers/ftp_peer.py" "$1" "$dir" "$(account)" "$tls" ;;
  esac
}

answers() {
  local server tls banner=''
  read -r server tls <"$dir/server"
  # One that begins with TLS says nothing before it.
  if [ "$tls" = implicit ]; then
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
    return
  fi
  { read -rt 5 banner <"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null || return 1
  [[ $banner == 220* || $banner == SSH-* ]]
}

describe() {
  local server tls user version
  read -r server tls <"$dir/server"
  case $server in
    proftpd*) user=acme version=$("$proftpd" --version 2>&1 | sed 's/.* //') ;;
    vsftpd) user=ftp version=3.0.3 ;;
    pureftpd) user=acme version=1.0.50 ;;
    pyftpdlib) user=acme version=2.2.0 ;;
  esac
  json server "$server" tls "$tls" version "$version" host 127.0.0.1 port "$1" pid "$2" user "$user" password "$(cat "$dir/password")" \
    folder "$dir/root/files" certificate "$dir/keys/server.pem" client_certificate "$dir/keys/client.pem" \
    client_key "$dir/keys/client.key" config "$dir/config" log "$dir/log" system_log "$dir/own/system.log"
  echo
}

serve_command "$@"
