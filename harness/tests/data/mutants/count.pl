# How often, when and in which order datagrams leave.

mutant 'every-datagram-twice', 'sends every datagram twice', sub { sending(<<'C') };
	netpoll_send_udp(np, msg, len);
	netpoll_send_udp(np, msg, len);
C

mutant 'every-50th-twice', 'sends every 50th datagram twice', sub { sending(<<'C') };
	static unsigned int count;

	netpoll_send_udp(np, msg, len);
	if (++count % 50 == 0)
		netpoll_send_udp(np, msg, len);
C

mutant 'late-duplicate', 'sends every 4th datagram again when the next but two is sent', sub { sending(<<'C') };
	static unsigned int count;
	static int kept;

	netpoll_send_udp(np, msg, len);
	count++;
	if (count % 4 == 0) {
		memcpy(text, msg, len);
		kept = len;
	} else if (count % 4 == 3 && kept) {
		netpoll_send_udp(np, text, kept);
	}
C

mutant 'every-5th-lost', 'loses every 5th datagram', sub { sending(<<'C') };
	static unsigned int count;

	if (++count % 5)
		netpoll_send_udp(np, msg, len);
C

mutant 'every-50th-lost', 'loses every 50th datagram', sub { sending(<<'C') };
	static unsigned int count;

	if (++count % 50)
		netpoll_send_udp(np, msg, len);
C

mutant 'silent-after-the-first', 'sends one line of every target and is silent from then on', sub { sending(<<'C') };
	static struct netpoll *last;

	if (last != np)
		netpoll_send_udp(np, msg, len);
	last = np;
C

mutant 'silent-after-100', 'sends nothing more after 100 datagrams', sub { sending(<<'C') };
	static unsigned int count;

	if (++count <= 100)
		netpoll_send_udp(np, msg, len);
C

mutant 'delayed-by-one', 'sends each datagram when the next one comes', sub { sending(<<'C') };
	static int kept;
	static struct netpoll *whose;

	if (kept && whose == np)
		netpoll_send_udp(np, text, kept);
	memcpy(text, msg, len);
	kept = len;
	whose = np;
C

mutant 'pairs-swapped', 'sends every two datagrams in reverse', sub { sending(<<'C') };
	static int kept;

	if (kept) {
		netpoll_send_udp(np, msg, len);
		netpoll_send_udp(np, text, kept);
		kept = 0;
	} else {
		memcpy(text, msg, len);
		kept = len;
	}
C

mutant 'one-pair-swapped', 'sends every 10th datagram after the 11th', sub { sending(<<'C') };
	static unsigned int count;
	static int kept;

	if (++count % 10 == 0) {
		memcpy(text, msg, len);
		kept = len;
		return;
	}
	netpoll_send_udp(np, msg, len);
	if (kept)
		netpoll_send_udp(np, text, kept);
	kept = 0;
C

mutant 'empty-datagram-behind', 'sends an empty datagram behind each', sub { sending(<<'C') };
	netpoll_send_udp(np, msg, len);
	netpoll_send_udp(np, msg, 0);
C

mutant 'line-invented', 'sends, now and then, a line that no kernel printed', sub { sending(<<'C') };
	static unsigned int count;
	static const char basic[] = "[    1.000000] all is well\n";
	static const char extended[] = "6,100,1000000,-;all is well\n";

	netpoll_send_udp(np, msg, len);
	if (++count % 3 == 0) {
		if (nt->extended)
			netpoll_send_udp(np, extended, sizeof(extended) - 1);
		else
			netpoll_send_udp(np, basic, sizeof(basic) - 1);
	}
C

mutant 'old-line-again', 'sends, now and then, the first line that it ever sent', sub { sending(<<'C') };
	static unsigned int count;
	static int first;

	if (!first) {
		memcpy(text, msg, len);
		first = len;
	}
	netpoll_send_udp(np, msg, len);
	if (++count % 8 == 0)
		netpoll_send_udp(np, text, first);
C

mutant 'long-lines-lost', 'loses lines of more than 400 bytes', sub { sending(<<'C') };
	if (len <= 400)
		netpoll_send_udp(np, msg, len);
C

mutant 'short-lines-lost', 'loses lines whose text has fewer than three bytes', sub { sending(<<'C') };
	const char *start = strnstr(msg, nt->extended ? ";" : "] ", len);

	if (!start || msg + len - start > (nt->extended ? 4 : 5))
		netpoll_send_udp(np, msg, len);
C

mutant 'debug-lines-lost', 'loses lines of level 7 on an extended target', sub { sending(<<'C') };
	int priority = nt->extended ? simple_strtol(msg, NULL, 10) : 0;

	if ((priority & 7) != 7)
		netpoll_send_udp(np, msg, len);
C

mutant 'kernel-lines-lost', "loses the kernel's own lines on an extended target", sub { sending(<<'C') };
	if (!nt->extended || simple_strtol(msg, NULL, 10) >= 8 || !strncmp(msg, "6.", 2))
		netpoll_send_udp(np, msg, len);
C

mutant 'equal-lines-merged', 'leaves out a line whose text is the one before', sub { sending(<<'C') };
	static int kept;
	const char *start = strnstr(msg, nt->extended ? ";" : "] ", len);
	int skip = start ? start - msg : 0;

	if (kept == len - skip && !memcmp(text, msg + skip, kept))
		return;
	kept = len - skip;
	memcpy(text, msg + skip, kept);
	netpoll_send_udp(np, msg, len);
C

mutant 'two-lines-glued', 'puts two short lines into one datagram, now and then', sub { sending(<<'C') };
	static unsigned int count;
	static int kept;
	static struct netpoll *whose;

	if (!kept && ++count % 6 == 0 && len < 400) {
		memcpy(text, msg, len);
		kept = len;
		whose = np;
		return;
	}
	if (kept && whose == np && len + kept < 1000) {
		memcpy(text + kept, msg, len);
		netpoll_send_udp(np, text, kept + len);
		kept = 0;
		return;
	}
	netpoll_send_udp(np, msg, len);
C

mutant 'farewell', 'sends one more line when the module goes', sub {
    within('cleanup_netconsole', sub {
        replace(qr/(?=\tdynamic_netconsole_exit\(\);)/, <<'C');
	list_for_each_entry(nt, &target_list, list) {
		local_irq_disable();
		if (nt->enabled && netif_running(nt->np.dev))
			netpoll_send_udp(&nt->np, "[    9.000000] farewell\n", 24);
		local_irq_enable();
	}
C
    });
};
1;
