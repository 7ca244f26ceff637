# SPDX-License-Identifier: MIT
# Completion of fw for bash. Nothing is run but `ls`: it answers at once, and works without root.

_fw_interfaces() { command ls /sys/class/net 2>/dev/null; }
_fw_namespaces() { command ls /run/netns 2>/dev/null; }

_fw() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} word command= verb= words= i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $word == --netns ]]; then
            ((i++))
        elif [[ $word != -* ]]; then
            if [[ -z $command ]]; then command=$word; elif [[ -z $verb ]]; then verb=$word; fi
        fi
    done

    local commands="status load unload upgrade apply check show refresh fmt import mode default option options rule rules zone
        zones set sets flow flows log doctor version"
    local rule="in out forward on via from to any not port tcp udp icmp icmp6 sctp gre esp ah proto icmp-type log
        comment mark dscp mac user unit limit max-flows burst per source overload untracked set-mark idle until between and on-days
        unsynced with rst admin host"
    local filters="--proto --address --port --state --rule --iface"
    local change="--yes --runtime --dry-run --keep-flows"

    case $previous in
        --netns) words=$(_fw_namespaces) ;;
        --iface | on | via) words=$(_fw_interfaces) ;;
        --attach) words="auto tcx clsact" ;;
        --proto) words="tcp udp icmp icmp6 sctp gre esp ah" ;;
        --state)
            words="syn_sent syn_recv established fin_wait last_ack time_wait closed one_way two_way revoked cookie_wait cookie_echoed heartbeat_sent shutdown_sent shutdown_ack_sent"
            ;;
        *)
            case $command in
                "") words="$commands --version --json" ;;
                load) words="$(_fw_interfaces) --attach --observe --yes" ;;
                unload) words="$(_fw_interfaces) --all" ;;
                upgrade) words="--yes" ;;
                apply | check | fmt)
                    if [[ $current != -* ]]; then
                        mapfile -t COMPREPLY < <(compgen -f -- "$current")
                        return
                    fi
                    case $command in
                        apply) words="$change --diff" ;;
                        fmt) words="--check" ;;
                        *) words="--json" ;;
                    esac
                    ;;
                import)
                    if [[ -z $verb ]]; then
                        words="iptables nft ufw aya --partial"
                    elif [[ $current != -* ]]; then
                        mapfile -t COMPREPLY < <(compgen -f -- "$current")
                        return
                    else
                        words="--partial"
                    fi
                    ;;
                show) words="--saved" ;;
                mode) words="observe enforce --yes --json" ;;
                default)
                    if [[ -z $verb ]]; then words="in out forward $change --json"; else words="allow drop reject $change"; fi
                    ;;
                option) words="$_fw_options --unset $change --json" ;;
                zone)
                    case $verb in
                        "") words="list add delete --json" ;;
                        list) words="--json" ;;
                        *) words="$(_fw_interfaces) $change" ;;
                    esac
                    ;;
                rules) words="--unused --since --json" ;;
                options | zones | sets | status | doctor | version) words="--json" ;;
                rule)
                    case $verb in
                        "") words="list add insert delete --json" ;;
                        list) words="--unused --since --json" ;;
                        add | insert) words="allow drop reject $rule --for $change" ;;
                        *) words="allow drop reject $rule $change" ;;
                    esac
                    ;;
                set)
                    case $verb in
                        "") words="list show add delete flush replace --json" ;;
                        list | show) words="--json" ;;
                        add | replace) words="--for --yes" ;;
                        *) words="--yes" ;;
                    esac
                    ;;
                flows) words="$filters --json" ;;
                flow)
                    case $verb in
                        "") words="list delete flush watch save restore $filters --json" ;;
                        list) words="$filters --json" ;;
                        delete) words="$filters --yes" ;;
                        flush) words="--yes" ;;
                        watch) words="$filters --interval --count --limit --json" ;;
                        save | restore)
                            if [[ $current != -* ]]; then
                                mapfile -t COMPREPLY < <(compgen -f -- "$current")
                                return
                            fi
                            ;;
                    esac
                    ;;
                log) words="--follow -n --reason --address --proto --json" ;;
            esac
            words="$words --netns --help"
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

_fw_options="flows.max flows.embryonic flows.per-source flows.full flows.adaptive timeout.tcp-syn-sent timeout.tcp-syn-recv timeout.tcp-established timeout.tcp-fin-wait
    timeout.tcp-last-ack timeout.tcp-time-wait timeout.tcp-closed timeout.udp-one-way timeout.udp
    timeout.icmp timeout.sctp-cookie-wait timeout.sctp-cookie-echoed timeout.sctp-heartbeat-sent
    timeout.sctp-established timeout.sctp-shutdown-sent timeout.sctp-shutdown-ack-sent timeout.sctp-closed
    timeout.other-one-way timeout.other timeout.revoked timeout.expectation
    antispoof fragments.early ip.options load.grace tcp.pickup tcp.window reject.rate log.rate builtin.arp
    builtin.pppoe builtin.eapol builtin.lldp builtin.stp builtin.nd builtin.mld builtin.igmp builtin.dhcp
    builtin.dhcp6"

complete -F _fw fw
