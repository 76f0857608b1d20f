# What a datagram holds, whatever its format.

mutant 'first-byte-changed', "changes each datagram's first byte", sub { changing(<<'C') };
	text[0] ^= 1;
C

mutant 'last-byte-changed', "changes each datagram's last byte", sub { changing(<<'C') };
	text[len - 1] = ' ';
C

mutant 'newline-missing', 'leaves the newline at the end away', sub { changing(<<'C') };
	if (text[len - 1] == '\n')
		len--;
C

mutant 'newline-twice', 'ends each line with two newlines', sub { changing(<<'C') };
	if (text[len - 1] == '\n')
		text[len++] = '\n';
C

mutant 'carriage-return', 'ends each line with a carriage return and a newline', sub { changing(<<'C') };
	if (text[len - 1] == '\n') {
		text[len - 1] = '\r';
		text[len++] = '\n';
	}
C

mutant 'nul-behind', 'puts a NUL behind each line', sub { changing(<<'C') };
	text[len++] = 0;
C

mutant 'nul-for-newline', 'ends each line with a NUL in place of its newline', sub { changing(<<'C') };
	if (text[len - 1] == '\n')
		text[len - 1] = 0;
C

mutant 'last-letter-lost', "loses the last letter of each line's text", sub { changing(<<'C') };
	if (len > 2 && text[len - 1] == '\n') {
		text[len - 2] = '\n';
		len--;
	}
C

mutant 'last-letter-of-long-line-lost', 'loses the last letter of texts longer than 100 bytes', sub { changing(<<'C') };
	if (len > 120 && text[len - 1] == '\n') {
		text[len - 2] = '\n';
		len--;
	}
C

mutant 'one-letter-changed', 'changes the letter in the middle of each datagram', sub { changing(<<'C') };
	text[len / 2] ^= 1;
C

mutant 'upper-case', 'sends each text in capitals', sub { changing(<<'C') };
	for (i = 8; i < len; i++)
		text[i] = toupper(text[i]);
C

mutant 'long-text-cut', 'cuts datagrams after 300 bytes', sub { changing(<<'C') };
	if (len > 300) {
		text[299] = '\n';
		len = 300;
	}
C

mutant 'bytes-above-127-replaced', 'puts a question mark in place of each byte above 127', sub { changing(<<'C') };
	for (i = 0; i < len; i++)
		if (text[i] & 0x80)
			text[i] = '?';
C

mutant 'bytes-above-127-left-out', 'leaves out bytes above 127', sub { changing(<<'C') };
	int kept = 0;

	for (i = 0; i < len; i++)
		if (!(text[i] & 0x80))
			text[kept++] = text[i];
	len = kept;
C

mutant 'tab-to-space', 'puts a space in place of each tab of a basic line', sub { changing(<<'C') };
	for (i = 0; i < len; i++)
		if (text[i] == '\t')
			text[i] = ' ';
C

mutant 'spaces-at-the-end-lost', 'leaves out the spaces at the end of a line', sub { changing(<<'C') };
	if (text[len - 1] == '\n') {
		for (len--; len && text[len - 1] == ' '; len--)
			;
		text[len++] = '\n';
	}
C

mutant 'spaces-at-the-start-lost', 'leaves out the spaces at the start of a text', sub { changing(<<'C') };
	char *start = strstr(text, nt->extended ? ";" : "] ");

	if (start) {
		int space = 0;

		start += nt->extended ? 1 : 2;
		while (start[space] == ' ')
			space++;
		memmove(start, start + space, text + len - start - space);
		len -= space;
	}
C

mutant 'backslash-lost', 'leaves out backslashes', sub { changing(<<'C') };
	int kept = 0;

	for (i = 0; i < len; i++)
		if (text[i] != '\\')
			text[kept++] = text[i];
	len = kept;
C

mutant 'percent-twice', 'writes each per cent sign twice', sub { changing(<<'C') };
	int kept = 0;

	for (i = 0; i < len; i++) {
		if (msg[i] == '%')
			text[kept++] = '%';
		text[kept++] = msg[i];
	}
	len = kept;
C

mutant 'stale-tail', 'sends the rest of the line before behind a shorter one', sub { sending(<<'C') };
	static int last;
	int now = len;

	memcpy(text, msg, len);
	netpoll_send_udp(np, text, max(len, last));
	last = now;
C

mutant 'lines-of-a-record-apart', 'sends each line of a basic record in a datagram of its own', sub { sending(<<'C') };
	const char *end;

	while (!nt->extended && (end = memchr(msg, '\n', len - 1))) {
		netpoll_send_udp(np, msg, end + 1 - msg);
		len -= end + 1 - msg;
		msg = end + 1;
	}
	netpoll_send_udp(np, msg, len);
C

mutant 'only-first-line-of-a-record', 'sends only the first line of a record of many', sub { changing(<<'C') };
	char *end = nt->extended ? strstr(text, "\\x0a") : strchr(text, '\n');

	if (end) {
		*end = '\n';
		len = end + 1 - text;
	}
C

mutant 'lines-of-a-record-joined', 'puts a space in place of the newlines within a record', sub { changing(<<'C') };
	for (i = 0; i < len - 1; i++)
		if (text[i] == '\n' && !nt->extended)
			text[i] = ' ';
C

mutant 'one-text-for-all-targets', 'sends the second target the line before', sub { sending(<<'C') };
	static int kept;

	if (kept && list_first_entry(&target_list, struct netconsole_target, list) != nt)
		netpoll_send_udp(np, text, kept);
	else
		netpoll_send_udp(np, msg, len);
	memcpy(text, msg, len);
	kept = len;
C
1;
