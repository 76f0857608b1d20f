# Release and user data, from 6.9 on.

only('6.12', sub {
    mutant 'release-missing', 'leaves the release out', sub {
        within('send_ext_msg_udp', sub { replace_all(qr/nt->release/, 'false') });
    };
    mutant 'release-always', 'writes the release unasked', sub {
        within('send_ext_msg_udp', sub { replace_all(qr/nt->release/, 'true') });
    };
    mutant 'release-twice', 'writes the release twice', sub { changing(<<'C') };
	int size = strlen(init_utsname()->release) + 1;

	if (nt->release) {
		memmove(text + size, text, len);
		len += size;
	}
C
    mutant 'release-wrong', "writes another kernel's release", sub {
        within('send_ext_msg_udp', sub { replace(qr/init_utsname\(\)->release;/, '"6.11.0-1-amd64";') });
    };
    mutant 'release-cut', 'cuts the release at the first dash or plus', sub { changing(<<'C') };
	int size = strlen(init_utsname()->release);
	int kept = strcspn(init_utsname()->release, "+-");

	if (nt->release) {
		memmove(text + kept, text + size, len - size);
		len -= size - kept;
	}
C
    mutant 'release-only-unfragmented', 'leaves the release out of fragments', sub { changing(<<'C') };
	int size = strlen(init_utsname()->release) + 1;

	if (nt->release && strnstr(text, ",ncfrag=", len)) {
		memmove(text, text + size, len - size);
		len -= size;
	}
C
    mutant 'release-only-first-fragment', 'leaves the release out of all but the first fragment', sub { changing(<<'C') };
	int size = strlen(init_utsname()->release) + 1;

	if (nt->release && strnstr(text, ",ncfrag=", len) && !strnstr(text, ",ncfrag=0/", len)) {
		memmove(text, text + size, len - size);
		len -= size;
	}
C
    mutant 'release-write-ignored', 'ignores what is written to release', sub {
        within('release_store', sub { replace(qr/nt->release = release;/, ';') });
    };
    mutant 'release-without-extended', 'enables a basic target with release', sub {
        within('enabled_store', sub { replace(qr/if \(nt->release && !nt->extended\)/, 'if (false)') });
    };

    mutant 'userdata-missing', 'leaves the user data out', sub {
        within('send_ext_msg_udp', sub { replace(qr/userdata_len = nt->userdata_length;/, 'userdata = NULL;') });
    };
    mutant 'userdata-twice', 'sends the user data twice', sub {
        within('update_userdata', sub { replace_all(qr/" %s=%s\\n",\n(\s+)item->ci_name, udm_item->value/, sub { "\" %s=%s\\n %s=%s\\n\",\n$1item->ci_name, udm_item->value, item->ci_name, udm_item->value" }) });
    };
    mutant 'userdata-stale', "keeps a key's first value", sub {
        within('userdatum_value_store', sub { replace(qr/(?=\tret = strscpy\(udm->value)/, "\tif (udm->value[0]) {\n\t\tret = count;\n\t\tgoto out_unlock;\n\t}\n") });
    };
    mutant 'userdata-one-change-behind', 'sends a new value only after the next change', sub {
        within('userdatum_value_store', sub {
            replace(qr/\tupdate_userdata\(nt\);\n/, '');
            replace(qr/(?=\tret = strscpy\(udm->value)/, "\tud = to_userdata(item->ci_parent);\n\tnt = userdata_to_target(ud);\n\tupdate_userdata(nt);\n");
        });
    };
    mutant 'userdata-last-byte-lost', "loses the last letter of a value", sub {
        within('update_userdata', sub { replace(qr/" %s=%s\\n",\n(\s+)item->ci_name, udm_item->value/, sub { "\" %s=%.*s\\n\",\n$1item->ci_name, (int)strlen(udm_item->value) - 1, udm_item->value" }) });
    };
    mutant 'userdata-order-reversed', 'sends the pairs in reverse', sub {
        within('update_userdata', sub { replace(qr/list_for_each\(/, 'list_for_each_prev(') });
    };
    mutant 'userdata-first-only', 'sends only the first pair', sub {
        within('update_userdata', sub { replace(qr/child_count >= MAX_USERDATA_ITEMS/, 'child_count >= 1') });
    };
    mutant 'userdata-key-lost', "leaves the keys' names out", sub {
        within('update_userdata', sub { replace(qr/" %s=%s\\n",\n(\s+)item->ci_name, /, sub { "\" =%s\\n\",\n$1" }) });
    };
    mutant 'userdata-without-space', 'leaves out the space before a pair', sub {
        within('update_userdata', sub { replace(qr/" %s=%s\\n"/, '"%s=%s\n"') });
    };
    mutant 'userdata-without-newline', 'leaves out the newline after a pair', sub {
        within('update_userdata', sub { replace(qr/" %s=%s\\n"/, '" %s=%s"') });
    };
    mutant 'userdata-removed-stays', 'goes on sending a pair that was removed', sub {
        within('userdatum_drop', sub { replace(qr/\tupdate_userdata\(nt\);\n/, "\t(void)nt;\n") });
    };
    mutant 'userdata-of-another-target', "sends each target the first one's user data", sub {
        within('send_ext_msg_udp', sub {
            replace(qr/= nt->userdata_complete;/, '= list_first_entry(&target_list, struct netconsole_target, list)->userdata_complete;');
            replace(qr/= nt->userdata_length;/, '= list_first_entry(&target_list, struct netconsole_target, list)->userdata_length;');
        });
    };
    mutant 'userdata-lost-in-fragments', 'leaves the user data out of fragmented messages', sub {
        within('send_ext_msg_udp', sub { replace(qr/(?=\t\/\* need to insert extra header fields)/, "\tuserdata_len = 0;\n") });
    };
    mutant 'userdata-not-counted', "leaves the user data out of fragments' total", sub {
        within('send_ext_msg_udp', sub { replace(qr/(",ncfrag=%d\/%d;", offset,\s*body_len) \+ userdata_len/, sub { $1 }) });
    };
    mutant 'userdata-value-cut', 'keeps 50 bytes of a value', sub {
        within('userdatum_value_store', sub { replace(qr/(?=\ttrim_newline\(udm->value)/, "\tudm->value[50] = 0;\n") });
    };
    mutant 'userdata-first-change-only-when-disabled', 'takes user data only while the target is disabled', sub {
        within('userdatum_value_store', sub { replace(qr/\tupdate_userdata\(nt\);\n/, "\tif (!nt->enabled)\n\t\tupdate_userdata(nt);\n") });
    };
});
1;
