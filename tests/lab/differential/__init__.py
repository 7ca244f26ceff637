# SPDX-License-Identifier: MIT
"""Connection tracking compared with netfilter's, packet by packet.

The same made-up conversations go through two routers of one shape: one has nftables with conntrack, the other
fw, both with the same policy. For each packet it is seen whether it came out at the other side.

    talk, icmp, shapes         the ends of a conversation; packets as frames and as words
    tcp*, asking, errors       TCP connections; UDP and echo; ICMP errors
    shaped                     fragments, extension headers, lies, super-packets
    kinds                      all of them, and how often each is drawn
    routers                    the two routers, the wires into them, and what came out
    compare                    runs conversations, judges the differences, makes a failing one short
    allowed*, tcp_history      the differences that are meant, each with its reason
"""
