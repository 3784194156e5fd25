# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash disable=SC1091,SC2034 # the kernel's own lib.sh is in the guest only
#
# Between the kernel's tests of forwarding and their lib.sh, which ./kernel holds: NICs forward what the tests believe
# that a kernel does. Three things differ:
#
# - What a NIC sends has not passed its tap. It is counted where it arrives: at the other end of the NIC's wire.
# - NICs forward by the table main and by no VRF. Router 1 of the multipath tests has no VRF then; router 2, the
#   kernel's, and all hosts have theirs.
# - 16384 processes that send an echo request each are one that sends half as many: pings.py.

source kernel/lib.sh

# By tap, the interface at the other end.
declare -A WIRE=([p2]=p1 [p3]=p4 [p5]=p6)

link_stats_tx_packets_get()
{
	if [ "${WIRE[$1]}" ]; then
		link_stats_get "${WIRE[$1]}" rx packets
	else
		link_stats_get "$1" tx packets
	fi
}

tc()
{
	local words=() word last='' far=''

	for word in "$@"; do
		if [ "$last" = dev ] && [ "${WIRE[$word]}" ]; then
			far=${WIRE[$word]}
			word=$far
		elif [ "$word" = egress ] && [ "$far" ]; then
			word=ingress
		fi
		words+=("$word")
		last=$word
	done
	command tc "${words[@]}"
}

ip()
{
	case " $* " in
	*" dev vrf-r1 "* | *" master vrf-r1 "*) return 0 ;;
	*" vrf vrf-r1 "*)
		local line="$*"

		# shellcheck disable=SC2086 # no word has a space
		set -- ${line/ vrf vrf-r1/}
		;;
	esac
	command ip "$@"
}

seq()
{
	if [ "$*" = "1 16384" ]; then
		command ip vrf exec vrf-h1 /usr/bin/python3 "$FOREIGN/pings.py" 2001:2:0:2::2 8192 >&2
	else
		command seq "$@"
	fi
}
