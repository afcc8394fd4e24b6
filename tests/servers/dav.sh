#!/usr/bin/env bash
# nginx with dav-ext, or wsgidav: WebDAV servers with other habits than Apache's, on loopback. Fields and commands: README.md.
#
#   dav.sh start DIR [--owner-pid PID] --server nginx|wsgidav [--extra LINE]...
# shellcheck source=server.sh
. "$(dirname "$0")/server.sh"

nginx=/usr/sbin/nginx
module=/usr/lib/nginx/modules/ngx_http_dav_ext_module.so
python=$cache/venv/bin/python
user=waybill
password=correct-horse
stop_signal=KILL # nothing of its state is worth an orderly end
account=www-data

configure() {
  local server='' extra=()
  while [ $# -gt 0 ]; do
    case $1 in
      --server) server=$2 ;;
      --extra) extra+=("$2") ;;
      *) die "no such option: $1" ;;
    esac
    shift 2
  done
  mkdir -p "$dir/own" "$dir/files"
  printf '%s:%s\n' "$user" "$(openssl passwd -apr1 "$password")" >"$dir/passwords"
  echo "$server" >"$dir/server"
  case $server in
    nginx) write_nginx "${extra[@]}" ;;
    wsgidav) [ -x "$python" ] || die "no $python: run tests/servers/prepare.sh" ;;
    *) die "--server nginx or --server wsgidav" ;;
  esac
  if [ "$(id -u)" = 0 ]; then
    reachable "$account" "$dir"
    chown -R "$account": "$dir/own" "$dir/files"
    chown "$account": "$dir/passwords"
    chmod 777 "$dir/files"
  fi
}

write_nginx() {
  [ -x "$nginx" ] && [ -e "$module" ] || die "no $nginx or $module: run tests/servers/prepare.sh"
  cat >"$dir/config" <<CONFIG
load_module $module;
daemon off;
master_process off;
pid $dir/own/pid;
error_log $dir/own/error.log notice;
events { worker_connections 256; }
http {
  log_format short '\$connection_requests \$status \$request_method \$uri';
  access_log $dir/own/access.log short;
  client_body_temp_path $dir/own/body;
  proxy_temp_path $dir/own/proxy;
  fastcgi_temp_path $dir/own/fastcgi;
  uwsgi_temp_path $dir/own/uwsgi;
  scgi_temp_path $dir/own/scgi;
  client_max_body_size 0;
  keepalive_requests 100000;
  dav_ext_lock_zone zone=locks:1m;
  server {
    listen 127.0.0.1:@PORT@;
    server_name localhost;
    root $dir/files;
    auth_basic "WebDAV of the tests";
    auth_basic_user_file $dir/passwords;
    location / {
      dav_methods PUT DELETE MKCOL COPY MOVE;
      dav_ext_methods PROPFIND OPTIONS LOCK UNLOCK;
      dav_ext_lock zone=locks;
      dav_access user:rw group:rw all:rw;
$(printf '      %s\n' "$@")
    }
  }
}
CONFIG
}

launch() {
  local command
  if [ "$(cat "$dir/server")" = nginx ]; then
    sed "s/@PORT@/$1/" "$dir/config" >"$dir/own/config"
    command=("$nginx" -c "$dir/own/config" -e "$dir/own/error.log")
  else
    command=("$python" "$servers/dav_peer.py" "$1" "$dir" "$user" "$password")
  fi
  umask 000 # tests look at, and put, files beside the server, as another user
  if [ "$(id -u)" = 0 ]; then as_user "$account" setsid "${command[@]}"; else exec setsid "${command[@]}"; fi
}

# A server that lost its port ends; the one that answers knows this test's password.
answers() {
  local status=''
  {
    printf 'PROPFIND / HTTP/1.1\r\nHost: localhost\r\nDepth: 0\r\nConnection: close\r\nContent-Length: 0\r\nAuthorization: Basic %s\r\n\r\n' \
      "$(printf '%s:%s' "$user" "$password" | base64)" >&3
    read -rt 5 status <&3
  } 2>/dev/null 3<>"/dev/tcp/127.0.0.1/$1" || return 1
  [[ $status == *' 207 '* ]]
}

describe() {
  local server version
  server=$(cat "$dir/server")
  case $server in
    nginx) version=$("$nginx" -v 2>&1 | sed 's/.*nginx\///') ;;
    wsgidav) version=$("$python" -c 'import wsgidav; print(wsgidav.__version__)') ;;
  esac
  json server "$server" version "$version" host 127.0.0.1 port "$1" pid "$2" url "dav://127.0.0.1:$1" user "$user" \
    password "$password" folder "$dir/files" certificate null log "$dir/log" requests "$dir/own/access.log"
  echo
}

serve_command "$@"
