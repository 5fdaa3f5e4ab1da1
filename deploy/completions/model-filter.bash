# Completions of model-filter for bash.
_model_filter() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} word name=
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case $word in models | check | health) name=$word ;; esac
  done
  case $previous in
    -c | --config | --from) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
    --sort) mapfile -t COMPREPLY < <(compgen -W "upstream rules newest id name price" -- "$current"); return ;;
    -H | --host | -p | --port | -r | --root-path | --key | --base-url | --keep | --hide) return ;;
    --api-key-env) mapfile -t COMPREPLY < <(compgen -e -- "$current"); return ;;
  esac
  local words="-c --config -H --host -p --port -r --root-path --base-url --keep --hide --api-key-env -h --help -V --version"
  case $name in
    models) words+=" --kept --hidden --sort --json --from --key" ;;
    health) words+=" --ready" ;;
    check)
      mapfile -t COMPREPLY < <(compgen -f -W "$words --online --key" -- "$current")
      return
      ;;
    *) words+=" models check health" ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -o filenames -F _model_filter model-filter
