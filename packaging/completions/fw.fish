# SPDX-License-Identifier: MIT
# Completion of fw for fish. Nothing is run but `ls`: it answers at once, and works without root.

function __fw_interfaces
    command ls /sys/class/net 2>/dev/null
end

function __fw_namespaces
    command ls /run/netns 2>/dev/null
end

set -l change apply default option rule zone
set -l json status check mode default option options rule rules zone zones set sets flow flows log doctor version
set -l flows flow flows
set -l with __fish_seen_subcommand_from

complete -c fw -f
complete -c fw -l netns -x -a '(__fw_namespaces)' -d 'Act in this network namespace'
complete -c fw -s h -l help -d 'Explain'

complete -c fw -n __fish_use_subcommand -l version -d 'Show the version'
complete -c fw -n __fish_use_subcommand -a status -d 'Mode, interfaces, flows, reasons'
complete -c fw -n __fish_use_subcommand -a load -d 'Protect interfaces with the saved policy'
complete -c fw -n __fish_use_subcommand -a unload -d 'Stop protecting interfaces'
complete -c fw -n __fish_use_subcommand -a upgrade -d 'Replace the running programs, keeping flows'
complete -c fw -n __fish_use_subcommand -a apply -d 'Put a policy file in force and save it'
complete -c fw -n __fish_use_subcommand -a check -d 'Say what is wrong with a policy file'
complete -c fw -n __fish_use_subcommand -a show -d 'Print the policy in force as a file'
complete -c fw -n __fish_use_subcommand -a refresh -d 'Count the times of rules again'
complete -c fw -n __fish_use_subcommand -a fmt -d 'A policy file in its canonical form'
complete -c fw -n __fish_use_subcommand -a import -d "Another firewall's rules as a policy"
complete -c fw -n __fish_use_subcommand -a mode -d 'Show or set whether packets are dropped'
complete -c fw -n __fish_use_subcommand -a default -d 'What happens where no rule matches'
complete -c fw -n __fish_use_subcommand -a option -d 'List options, show one, or set it'
complete -c fw -n __fish_use_subcommand -a options -d 'List options'
complete -c fw -n __fish_use_subcommand -a rule -d 'List, add, insert and delete rules'
complete -c fw -n __fish_use_subcommand -a rules -d 'List the rules and what they decided'
complete -c fw -n __fish_use_subcommand -a zone -d 'List and change the zones'
complete -c fw -n __fish_use_subcommand -a zones -d 'List the zones'
complete -c fw -n __fish_use_subcommand -a set -d 'List and change sets of addresses'
complete -c fw -n __fish_use_subcommand -a sets -d 'List the sets'
complete -c fw -n __fish_use_subcommand -a flow -d 'List, watch, delete and keep connections'
complete -c fw -n __fish_use_subcommand -a flows -d 'List the live flows'
complete -c fw -n __fish_use_subcommand -a log -d 'Show the last drops'
complete -c fw -n __fish_use_subcommand -a doctor -d 'Check this machine'
complete -c fw -n __fish_use_subcommand -a version -d 'Show versions'

complete -c fw -n "$with $json" -l json -d 'Print JSON'
complete -c fw -n "$with $change" -l runtime -d 'Do not save'
complete -c fw -n "$with $change" -l keep-flows -d 'Spare open connections'
complete -c fw -n "$with apply" -l diff -d 'Show what would change, line by line'
complete -c fw -n "$with rule rules" -l unused -d 'Only rules without packets'
complete -c fw -n "$with rule rules" -l since -x -d 'None in so long'
complete -c fw -n "$with rule" -l for -x -d 'Let it end so long from now'
complete -c fw -n "$with $change" -l dry-run -d 'Only show what would change'
complete -c fw -n "$with $change load upgrade mode flow set" -s y -l yes -d 'Even if it cuts this connection'

complete -c fw -n "$with load unload" -a '(__fw_interfaces)'
complete -c fw -n "$with load" -l attach -x -a 'auto tcx clsact' -d 'How to attach'
complete -c fw -n "$with load" -l observe -d 'Drop nothing'
complete -c fw -n "$with unload" -l all -d 'Everything'
complete -c fw -n "$with show" -l saved -d 'The saved policy'
complete -c fw -n "$with apply check fmt" -F
complete -c fw -n "$with import; and not $with iptables nft ufw aya" -a 'iptables nft ufw aya'
complete -c fw -n "$with import; and $with iptables nft ufw aya" -F
complete -c fw -n "$with import" -l partial -d 'Even if something is missing'
complete -c fw -n "$with fmt" -l check -d 'Only say whether it would change'
complete -c fw -n "$with mode" -a 'observe enforce'
complete -c fw -n "$with default" -a 'in out forward allow drop reject'
complete -c fw -n "$with option" -l unset -d 'The default'
complete -c fw -n "$with option" -a 'flows.max flows.embryonic flows.per-source flows.full flows.adaptive timeout.tcp-syn-sent timeout.tcp-syn-recv timeout.tcp-established timeout.tcp-fin-wait \
    timeout.tcp-last-ack timeout.tcp-time-wait timeout.tcp-closed timeout.udp-one-way timeout.udp \
    timeout.icmp timeout.sctp-cookie-wait timeout.sctp-cookie-echoed timeout.sctp-heartbeat-sent \
    timeout.sctp-established timeout.sctp-shutdown-sent timeout.sctp-shutdown-ack-sent timeout.sctp-closed \
    timeout.other-one-way timeout.other timeout.revoked timeout.expectation \
    antispoof fragments.early ip.options load.grace tcp.pickup tcp.window reject.rate log.rate \
    builtin.arp builtin.pppoe builtin.eapol builtin.lldp builtin.stp builtin.nd builtin.mld builtin.igmp builtin.dhcp \
    builtin.dhcp6'
complete -c fw -n "$with rule; and not $with list add insert delete" -a 'list add insert delete'
complete -c fw -n "$with rule; and $with add insert delete" -a 'allow drop reject in out forward on via from to any not \
    port tcp udp icmp icmp6 sctp gre esp ah proto icmp-type log comment mark dscp mac user unit limit max-flows overload untracked burst \
    per source set-mark idle until between and on-days unsynced with rst admin host'
complete -c fw -n "$with set; and not $with list show add delete flush replace" -a 'list show add delete flush replace'
complete -c fw -n "$with set; and $with add replace" -l for -x -a '90s 5m 2h 1d' -d 'How long they stay'
complete -c fw -n "$with flow; and not $with list delete flush watch save restore" -a 'list delete flush watch save restore'
complete -c fw -n "$with flow; and $with save restore" -F
complete -c fw -n "$with flow; and $with watch" -l interval -x -d 'Seconds from look to look'
complete -c fw -n "$with flow; and $with watch" -l count -x -d 'End after so many looks'
complete -c fw -n "$with flow; and $with watch" -l limit -x -d 'So many flows'
complete -c fw -n "$with $flows log" -s p -l proto -x -a 'tcp udp icmp icmp6 sctp gre esp ah' -d Protocol
complete -c fw -n "$with $flows log" -s a -l address -x -d 'Address or prefix of either end'
complete -c fw -n "$with $flows" -l port -x -d 'Port of either end'
complete -c fw -n "$with $flows" -s r -l rule -x -d 'Id of the rule that admitted it'
complete -c fw -n "$with $flows" -s i -l iface -x -a '(__fw_interfaces)' -d 'Interface of either side'
complete -c fw -n "$with $flows" -s s -l state -x -a 'syn_sent syn_recv established fin_wait last_ack time_wait closed one_way two_way revoked cookie_wait cookie_echoed heartbeat_sent shutdown_sent shutdown_ack_sent' \
    -d State
complete -c fw -n "$with log" -s f -l follow -d 'Go on with new ones'
complete -c fw -n "$with log" -s n -x -d 'The last so many'
complete -c fw -n "$with log" -l reason -x -d Reason
