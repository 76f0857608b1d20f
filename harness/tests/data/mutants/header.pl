# Extended targets: the header, and how the text is escaped.

# Edits the header of extended messages: the C code has `head`, its start behind a release, and `field[0]` to `field[3]`,
# where priority, sequence number, time and flag start.
sub heading {
    my ($code) = @_;
    changing(<<"C");
	char *head = text;
	char *field[4];
	bool known = nt->extended;

	if (known && strchr(text, ',') && memchr(text, '.', strchr(text, ',') - text))
		head = strchr(text, ',') + 1;
	field[0] = head;
	for (i = 1; known && i < 4; i++) {
		field[i] = strchr(field[i - 1], ',');
		known = field[i]++ != NULL;
	}
	if (known) {
$code	}
C
}

mutant 'level-changed', 'changes the level in the header', sub { heading(<<'C') };
		field[1][-2] ^= 1;
C

mutant 'level-always-6', 'writes level 6 for all lines', sub { heading(<<'C') };
		int priority = (simple_strtol(head, NULL, 10) & ~7) | 6;
		char number[12];
		int size = scnprintf(number, sizeof(number), "%d", priority);

		if (size == field[1] - 1 - head)
			memcpy(head, number, size);
C

mutant 'facility-lost', 'leaves the facility out of the header', sub { heading(<<'C') };
		int priority = simple_strtol(head, NULL, 10) & 7;
		int size = field[1] - 1 - head;

		memmove(head + 1, head + size, text + len - head - size);
		head[0] = '0' + priority;
		len -= size - 1;
C

mutant 'sequence-off-by-one', 'writes a sequence number one too high', sub { heading(<<'C') };
		if (field[2][-2] != '9')
			field[2][-2]++;
C

mutant 'sequence-constant', 'writes the same sequence number into each header', sub { heading(<<'C') };
		for (i = 0; field[1][i] != ','; i++)
			field[1][i] = '7';
C

mutant 'sequence-of-its-own', 'counts sequence numbers from 1', sub { heading(<<'C') };
		static unsigned int own;
		int size = field[2] - 1 - field[1];
		char number[21];

		if (!strnstr(text, ",ncfrag=", len) || strnstr(text, ",ncfrag=0/", len))
			own++;
		snprintf(number, sizeof(number), "%0*u", size, own);
		memcpy(field[1], number, size);
C

mutant 'time-off-by-a-microsecond', "changes the time's last digit", sub { heading(<<'C') };
		field[3][-2] ^= 1;
C

mutant 'time-in-milliseconds', 'writes the time in milliseconds', sub { heading(<<'C') };
		if (field[3] - field[2] > 5) {
			memmove(field[3] - 4, field[3] - 1, text + len - field[3] + 1);
			len -= 3;
		}
C

mutant 'flag-changed', 'marks each record as a continuation', sub { heading(<<'C') };
		if (field[3][0] == '-')
			field[3][0] = 'c';
C

mutant 'header-ends-with-comma', 'ends the header with a comma', sub { heading(<<'C') };
		char *end = strchr(head, ';');

		if (end)
			*end = ',';
C

mutant 'header-with-one-field-more', 'adds an unknown field to each header', sub { heading(<<'C') };
		char *end = strchr(head, ';');

		if (end && !strnstr(text, ",ncfrag=", len)) {
			memmove(end + 4, end, text + len - end);
			memcpy(end, ",x=y", 4);
			len += 4;
		}
C

mutant 'header-lost', 'leaves the header of extended messages out', sub { heading(<<'C') };
		char *end = strchr(head, ';');

		if (end) {
			len -= end + 1 - text;
			memmove(text, end + 1, len);
		}
C

mutant 'header-then-prefix', 'writes a time in brackets before the text of an extended message', sub { heading(<<'C') };
		char *end = strchr(head, ';');

		if (end++ && !strnstr(text, ",ncfrag=", len)) {
			memmove(end + 15, end, text + len - end);
			memcpy(end, "[    1.000000] ", 15);
			len += 15;
		}
C

mutant 'dictionary-lost', 'leaves the dictionary lines behind a text out', sub { heading(<<'C') };
		char *end = strnstr(text, "\n SUBSYSTEM", len);

		if (end)
			len = end + 1 - text;
C

mutant 'dictionary-changed', 'changes the last letter of the dictionary', sub { heading(<<'C') };
		if (strnstr(text, "\n SUBSYSTEM", len))
			text[len - 2] ^= 1;
C

mutant 'escapes-in-capitals', 'writes escaped bytes in capitals', sub { heading(<<'C') };
		for (i = 0; i + 3 < len; i++)
			if (text[i] == '\\' && text[i + 1] == 'x') {
				text[i + 2] = toupper(text[i + 2]);
				text[i + 3] = toupper(text[i + 3]);
			}
C

mutant 'escapes-undone', 'sends escaped bytes as they were', sub { heading(<<'C') };
		int kept = 0;

		for (i = 0; i < len; i++) {
			u8 byte;

			if (i + 3 < len && text[i] == '\\' && text[i + 1] == 'x' && !hex2bin(&byte, text + i + 2, 1)) {
				text[kept++] = byte;
				i += 3;
			} else {
				text[kept++] = text[i];
			}
		}
		len = kept;
C

mutant 'line-escaped-no-more', 'sends an escaped newline as a newline', sub { heading(<<'C') };
		char *escape;

		while ((escape = strnstr(text, "\\x0a", len))) {
			*escape = '\n';
			memmove(escape + 1, escape + 4, text + len - escape - 4);
			len -= 3;
		}
C
1;
