# Where datagrams go to and come from.

mutant 'broadcast-mac', 'sends to the broadcast address', sub { aiming(<<'C') };
	eth_broadcast_addr(np->remote_mac);
C

mutant 'broadcast-mac-now-and-then', 'sends every 20th frame to the broadcast address', sub { aiming(<<'C') };
	if (count % 20 == 0)
		eth_broadcast_addr(np->remote_mac);
C

mutant 'mac-of-the-target-before', "sends to the Ethernet address of the target that was served before", sub { aiming(<<'C') };
	static u8 last[ETH_ALEN];

	if (!is_zero_ether_addr(last))
		memcpy(np->remote_mac, last, ETH_ALEN);
	memcpy(last, meant.remote_mac, ETH_ALEN);
C

mutant 'mac-last-byte-changed', "changes the Ethernet address's last byte", sub { aiming(<<'C') };
	np->remote_mac[5] ^= 1;
C

mutant 'mac-with-group-bit', 'sets the group bit of the Ethernet address', sub { aiming(<<'C') };
	np->remote_mac[0] |= 1;
C

mutant 'remote-port-always-6666', 'sends to port 6666', sub { aiming(<<'C') };
	np->remote_port = 6666;
C

mutant 'local-port-always-6665', 'sends from port 6665', sub { aiming(<<'C') };
	np->local_port = 6665;
C

mutant 'remote-port-one-too-high', 'sends to the next port', sub { aiming(<<'C') };
	np->remote_port++;
C

mutant 'local-port-counts-up', 'sends each datagram from another port', sub { aiming(<<'C') };
	np->local_port += count;
C

mutant 'ports-swapped', 'swaps the two ports', sub { aiming(<<'C') };
	swap(np->local_port, np->remote_port);
C

mutant 'local-ip-changed', 'sends from the next address', sub { aiming(<<'C') };
	((u8 *)&np->local_ip)[np->ipv6 ? 15 : 3]++;
C

mutant 'local-ip-zero', 'sends from no address', sub { aiming(<<'C') };
	memset(&np->local_ip, 0, sizeof(np->local_ip));
C

mutant 'local-ipv6-changed', 'sends IPv6 from another address', sub { aiming(<<'C') };
	if (np->ipv6)
		((u8 *)&np->local_ip)[14]++;
C

mutant 'remote-ip-changed', 'sends to the next address', sub { aiming(<<'C') };
	((u8 *)&np->remote_ip)[np->ipv6 ? 15 : 3]++;
C

mutant 'remote-ip-changes-later', 'sends to the next address from the 30th datagram on', sub { aiming(<<'C') };
	if (count >= 30)
		((u8 *)&np->remote_ip)[np->ipv6 ? 15 : 3]++;
C

mutant 'addresses-swapped', 'swaps the two addresses', sub { aiming(<<'C') };
	swap(np->local_ip, np->remote_ip);
C

mutant 'all-targets-to-the-first', 'sends the lines of all targets to the first', sub { aiming(<<'C') };
	struct netconsole_target *first = list_first_entry(&target_list, struct netconsole_target, list);

	np->remote_ip = first->np.remote_ip;
	np->remote_port = first->np.remote_port;
	memcpy(np->remote_mac, first->np.remote_mac, ETH_ALEN);
C

mutant 'stray-to-the-next-port', 'sends each datagram to the next port, too', sub { aiming(<<'C') };
	np->remote_port++;
	netpoll_send_udp(np, msg, len);
	np->remote_port--;
C

mutant 'stray-broadcast', 'broadcasts each datagram, too', sub { aiming(<<'C') };
	eth_broadcast_addr(np->remote_mac);
	netpoll_send_udp(np, msg, len);
	memcpy(np->remote_mac, meant.remote_mac, ETH_ALEN);
C

mutant 'stray-multicast', 'sends each datagram of IPv4 to a multicast group, too', sub { aiming(<<'C') };
	static const u8 group[ETH_ALEN] = { 0x01, 0x00, 0x5e, 0x01, 0x01, 0x01 };

	if (!np->ipv6) {
		np->remote_ip.ip = htonl(0xe0010101);
		memcpy(np->remote_mac, group, ETH_ALEN);
		netpoll_send_udp(np, msg, len);
		np->remote_ip = meant.remote_ip;
		memcpy(np->remote_mac, meant.remote_mac, ETH_ALEN);
	}
C

mutant 'stray-to-the-next-address', 'sends each datagram to the next address, too', sub { aiming(<<'C') };
	((u8 *)&np->remote_ip)[np->ipv6 ? 15 : 3]++;
	netpoll_send_udp(np, msg, len);
	np->remote_ip = meant.remote_ip;
C

mutant 'stray-to-itself', 'sends each datagram to its own address, too', sub { aiming(<<'C') };
	np->remote_ip = meant.local_ip;
	netpoll_send_udp(np, msg, len);
	np->remote_ip = meant.remote_ip;
C

mutant 'stray-now-and-then', 'sends every 15th datagram to port 514, too', sub { aiming(<<'C') };
	if (count % 15 == 0) {
		np->remote_port = 514;
		netpoll_send_udp(np, msg, len);
		np->remote_port = meant.remote_port;
	}
C
1;
