#!/usr/bin/env bash
# Apache with mod_dav, a WebDAV server, on loopback. Fields and commands: README.md beside this file.
#
#   apache.sh start DIR [--owner-pid PID] [--authentication basic|digest|none] [--tls] [--extra LINE]...
# shellcheck source=server.sh
. "$(dirname "$0")/server.sh"

apache=/usr/sbin/apache2
modules=/usr/lib/apache2/modules
user=waybill
password=correct-horse
realm='WebDAV of the tests'
status=/.status # which process does what: a request is in the log only after its answer
stop_signal=KILL # nothing of its state is worth an orderly end
account=www-data

# What a request is asked for before it is served.
login() {
  case $1 in
    none) echo 'Require all granted' ;;
    basic) printf 'AuthType Basic\nAuthBasicProvider file\nAuthName "%s"\nAuthUserFile %s\nRequire valid-user\n' "$realm" "$dir/passwords" ;;
    digest) printf 'AuthType Digest\nAuthDigestProvider file\nAuthName "%s"\nAuthUserFile %s\nRequire valid-user\n' "$realm" "$dir/passwords" ;;
    *) die "no such authentication: $1" ;;
  esac
}

make_certificate() {
  openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' \
    -keyout "$dir/key.pem" -out "$dir/certificate.pem" 2>/dev/null
}

configure() {
  local authentication=basic tls='' extra=() name
  [ -x "$apache" ] || die "no $apache: run tests/servers/prepare.sh"
  while [ $# -gt 0 ]; do
    case $1 in
      --authentication) authentication=$2 ;;
      --extra) extra+=("$2") ;;
      --tls)
        tls=1
        shift
        continue
        ;;
      *) die "no such option: $1" ;;
    esac
    shift 2
  done
  mkdir -p "$dir/own" "$dir/files"
  if [ "$authentication" = digest ]; then
    printf '%s:%s:%s\n' "$user" "$realm" "$(printf '%s:%s:%s' "$user" "$realm" "$password" | md5sum | cut -d' ' -f1)" >"$dir/passwords"
  else
    printf '%s:%s\n' "$user" "$(openssl passwd -apr1 "$password")" >"$dir/passwords"
  fi
  {
    for name in mpm_prefork authn_core authn_file authz_core authz_user auth_basic auth_digest dav dav_fs setenvif env rewrite headers reqtimeout alias ssl socache_shmcb status; do
      [ ! -e "$modules/mod_$name.so" ] || echo "LoadModule ${name}_module $modules/mod_$name.so"
    done
    cat <<CONFIG
ServerName localhost
ServerRoot $dir/own
DefaultRuntimeDir $dir/own
PidFile $dir/own/pid
Mutex file:$dir/own
DocumentRoot $dir/files
DavLockDB $dir/own/locks
ErrorLog $dir/own/error.log
LogLevel warn mpm_prefork:notice core:notice
LogFormat "%k %s %m %U" short
CustomLog $dir/own/access.log short env=!of_status
SetEnvIf Request_URI "^$status$" of_status
<Location $status>
Dav Off
SetHandler server-status
Require all granted
</Location>
KeepAlive On
MaxKeepAliveRequests 0
StartServers 4
MaxRequestWorkers 64
LimitXMLRequestBody 65536
<Directory $dir/files>
Dav On
$(login "$authentication")
</Directory>
CONFIG
    if [ -n "$tls" ]; then
      make_certificate
      printf 'SSLEngine on\nSSLCertificateFile %s\nSSLCertificateKeyFile %s\nSSLSessionCache none\n' "$dir/certificate.pem" "$dir/key.pem"
    fi
    for name in "${extra[@]}"; do printf '%s\n' "$name"; done
  } >"$dir/apache.conf"
  echo "${tls:-0}" >"$dir/run/tls"
  if [ "$(id -u)" = 0 ]; then
    reachable "$account" "$dir"
    chown -R "$account": "$dir/own" "$dir/files"
    chown "$account": "$dir/passwords"
    if [ -n "$tls" ]; then chown "$account": "$dir/key.pem"; fi
    chmod 777 "$dir/files"
  fi
}

launch() {
  { cat "$dir/apache.conf" && echo "Listen 127.0.0.1:$1"; } >"$dir/apache.conf.port"
  rm -f "$dir/own/pid" # of a process that was killed, and may not be reaped yet
  umask 000 # tests look at, and put, files beside the server, as another user
  if [ "$(id -u)" = 0 ]; then
    as_user "$account" setsid "$apache" -D FOREGROUND -f "$dir/apache.conf.port"
  else
    exec setsid "$apache" -D FOREGROUND -f "$dir/apache.conf.port"
  fi
}

# Its own log says that this process runs, which it says after it has taken the port; then it answers.
answers() {
  grep -q 'resuming normal operations' "$dir/own/error.log" 2>/dev/null || return 1
  (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

describe() {
  local scheme=dav certificate=null
  if [ "$(cat "$dir/run/tls")" = 1 ]; then scheme=davs certificate=$dir/certificate.pem status=null; fi
  json server apache version "$("$apache" -v | sed -n '1s/.*Apache\///p')" host 127.0.0.1 port "$1" pid "$2" \
    url "$scheme://127.0.0.1:$1" user "$user" password "$password" folder "$dir/files" certificate "$certificate" \
    log "$dir/own/error.log" requests "$dir/own/access.log" status "$status"
  echo
}

serve_command "$@"
