# Completions of model-filter for fish.
set -l commands models check health
complete -c model-filter -f
complete -c model-filter -n "not __fish_seen_subcommand_from $commands" -a models -d 'show which models are kept or hidden, and why'
complete -c model-filter -n "not __fish_seen_subcommand_from $commands" -a check -d 'check the configuration'
complete -c model-filter -n "not __fish_seen_subcommand_from $commands" -a health -d 'ask the running proxy whether it is healthy'
complete -c model-filter -s c -l config -rF -d 'the configuration'
complete -c model-filter -s H -l host -x -d 'the address to listen on'
complete -c model-filter -s p -l port -x -d 'the port to listen on'
complete -c model-filter -s r -l root-path -x -d 'a leading path to strip from request paths'
complete -c model-filter -s h -l help -d 'print a summary'
complete -c model-filter -s V -l version -d 'print the version'
complete -c model-filter -n '__fish_seen_subcommand_from models' -l kept -d 'show the kept models only'
complete -c model-filter -n '__fish_seen_subcommand_from models' -l hidden -d 'show the hidden models only'
complete -c model-filter -n '__fish_seen_subcommand_from models' -l json -d 'print JSON'
complete -c model-filter -n '__fish_seen_subcommand_from models' -l from -rF -d 'read a saved list instead of asking upstreams'
complete -c model-filter -n '__fish_seen_subcommand_from models' -l key -x -d 'send this key as a client would: os.environ/NAME or file:NAME'
complete -c model-filter -n '__fish_seen_subcommand_from health' -l ready -d 'also ask whether a list of models is available'
