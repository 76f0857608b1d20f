# What is wrong only while a kernel dies, or says that something is wrong with it.

# C code that runs with `dying` set from a panic's first line on, and `line` counting datagrams from there.
sub dying {
    my ($code) = @_;
    sending(<<"C");
	static bool dying;
	static int line;

	if (strnstr(msg, "Kernel panic - not syncing", len))
		dying = true;
	if (dying)
		line++;
$code
C
}

mutant 'panic-silent-after-its-first-line', 'sends nothing behind the first line of a panic', sub { dying(<<'C') };
	if (line <= 1)
		netpoll_send_udp(np, msg, len);
C

mutant 'panic-silent-at-all', 'sends nothing of a panic', sub { dying(<<'C') };
	if (!dying)
		netpoll_send_udp(np, msg, len);
C

for my $lost (2, 7, 20) {
    mutant "panic-line-$lost-lost", "loses datagram $lost of a panic", sub { dying(<<"C") };
	if (line != $lost)
		netpoll_send_udp(np, msg, len);
C
}

mutant 'panic-last-line-lost', 'loses the last line of a panic that stands still', sub { dying(<<'C') };
	if (!strnstr(msg, "---[ end Kernel panic", len))
		netpoll_send_udp(np, msg, len);
C

mutant 'panic-offset-lost', 'loses the kernel offset, the last line of a panic that reboots at once', sub { dying(<<'C') };
	if (!strnstr(msg, "Kernel Offset", len))
		netpoll_send_udp(np, msg, len);
C

mutant 'panic-line-twice', 'sends the 9th datagram of a panic twice', sub { dying(<<'C') };
	netpoll_send_udp(np, msg, len);
	if (line == 9)
		netpoll_send_udp(np, msg, len);
C

mutant 'panic-lines-swapped', 'sends the 9th datagram of a panic behind the 10th', sub { dying(<<'C') };
	static int kept;

	if (line == 9) {
		memcpy(text, msg, len);
		kept = len;
		return;
	}
	netpoll_send_udp(np, msg, len);
	if (kept) {
		netpoll_send_udp(np, text, kept);
		kept = 0;
	}
C

mutant 'panic-letter-changed', 'changes a letter of the 12th datagram of a panic', sub { dying(<<'C') };
	memcpy(text, msg, len);
	if (line == 12)
		text[len - 3] ^= 1;
	netpoll_send_udp(np, text, len);
C

mutant 'trace-line-lost', 'loses a line in the middle of a trace', sub { sending(<<'C') };
	if (!strnstr(msg, "asm_exc_invalid_op", len) && !strnstr(msg, "entry_SYSCALL_64_after_hwframe", len))
		netpoll_send_udp(np, msg, len);
C

mutant 'registers-lost', 'loses the registers of a trace', sub { sending(<<'C') };
	if (!strnstr(msg, "R10: ", len))
		netpoll_send_udp(np, msg, len);
C

mutant 'sysrq-header-lost', 'loses what a SysRq key says of itself', sub { sending(<<'C') };
	if (!strnstr(msg, "sysrq: ", len))
		netpoll_send_udp(np, msg, len);
C
