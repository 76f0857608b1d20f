# What configfs does with what is written to it.

# Edits the function that takes an attribute's value.
sub storing {
    my ($attribute, $edit) = @_;
    within("${attribute}_store", $edit);
}

mutant 'dev-name-cut', 'keeps three letters of the device name', sub {
    storing('dev_name', sub { replace(qr/strscpy\(nt->np\.dev_name, buf, IFNAMSIZ\);/, 'strscpy(nt->np.dev_name, buf, 4);') });
};

mutant 'dev-name-ignored', 'sends from eth0 whatever dev_name says', sub {
    storing('dev_name', sub { replace(qr/(?<=strscpy\(nt->np\.dev_name, )buf/, '"eth0"') });
};

mutant 'remote-mac-ignored', 'ignores what is written to remote_mac', sub {
    storing('remote_mac', sub { replace(qr/memcpy\(nt->np\.remote_mac, remote_mac, ETH_ALEN\);/, ';') });
};

mutant 'remote-mac-kept-after-first', 'takes remote_mac only once', sub {
    storing('remote_mac', sub { replace(qr/(?=memcpy\(nt->np\.remote_mac, remote_mac, ETH_ALEN\);)/, 'if (is_broadcast_ether_addr(nt->np.remote_mac)) ') });
};

mutant 'bad-mac-accepted', 'takes anything for an Ethernet address', sub {
    storing('remote_mac', sub { replace_all(qr/\t\tgoto out_unlock;\n(?=\tif \(buf|\tmemcpy)/, "\t\t;\n") });
};

for my $port ('local_port', 'remote_port') {
    my $dashed = $port =~ tr/_/-/r;
    mutant "$dashed-ignored", "ignores what is written to $port", sub {
        storing($port, sub {
            replace(qr/&nt->np\.$port/, '&ignored');
            replace(qr/(?<=^\{\n)/m, "\tu16 ignored;\n");
        });
    };
    mutant "$dashed-kept-after-first", "takes $port only once", sub {
        my $default = $port eq 'local_port' ? 6665 : 6666;
        storing($port, sub {
            replace(qr/&nt->np\.$port/, "nt->np.$port == $default ? &nt->np.$port : &ignored");
            replace(qr/(?<=^\{\n)/m, "\tu16 ignored;\n");
        });
    };
}

mutant 'bad-port-accepted', 'takes the lower half of a port number that is too high', sub {
    for my $port ('local_port', 'remote_port') {
        storing($port, sub {
            replace(qr/(\w+) = kstrtou16\(buf, 10, &nt->np\.$port\);/, sub { "nt->np.$port = simple_strtoul(buf, NULL, 10);\n\t$1 = 0;" });
        });
    }
};

mutant 'local-port-goes-to-remote-port', 'takes local_port for remote_port', sub {
    storing('local_port', sub { replace(qr/&nt->np\.local_port/, '&nt->np.remote_port') });
};

mutant 'local-ip-ignored', 'ignores what is written to local_ip', sub {
    storing('local_ip', sub {
        replace(qr/nt->np\.local_ip\.ip = in_aton\(buf\);/, ';');
        replace(qr/nt->np\.local_ip\.in6\.s6_addr/, 'ignored.s6_addr');
        replace(qr/(?<=^\{\n)/m, "\tstruct in6_addr ignored;\n");
    });
};

mutant 'remote-ip-ignored-once-set', 'takes remote_ip only once', sub {
    storing('remote_ip', sub {
        replace(qr/(?=nt->np\.remote_ip\.ip = in_aton\(buf\);)/, "if (!nt->np.remote_ip.ip)\n\t\t\t\t");
    });
};

mutant 'extended-ignored', 'ignores what is written to extended', sub {
    storing('extended', sub { replace(qr/nt->extended = extended;/, ';') });
};

mutant 'extended-cannot-be-taken-back', 'stays extended once it was', sub {
    storing('extended', sub { replace(qr/nt->extended = extended;/, 'nt->extended |= extended;') });
};

mutant 'writes-while-enabled', 'takes values while the target is enabled', sub {
    replace_all(qr/(?<=\tif \()nt->enabled(?=\) \{\n\t\tpr_err)/, 'false');
};

mutant 'one-write-while-enabled', 'takes remote_port while the target is enabled', sub {
    storing('remote_port', sub { replace(qr/(?<=\tif \()nt->enabled(?=\) \{\n\t\tpr_err)/, 'false') });
};

mutant 'refused-write-stays', 'refuses values while the target is enabled, and takes them all the same', sub {
    storing('remote_port', sub {
        replace(qr/(?=\tif \(nt->enabled\))/, "\tif (kstrtou16(buf, 10, &nt->np.remote_port))\n\t\t;\n");
    });
};

mutant 'write-while-enabled-dropped', 'says nothing where a value comes while the target is enabled, and drops it', sub {
    storing('remote_port', sub {
        replace(qr/goto out_unlock;(?=\n\t\}\n)/, "mutex_unlock(&dynamic_netconsole_mutex);\n\t\treturn count;");
    });
};

mutant 'enabled-twice', 'takes `enabled` = 1 where the target is enabled already', sub {
    storing('enabled', sub {
        replace(qr/(started" : "stopped"\);\n)\t\tgoto out_unlock;/, sub { "$1\t\tmutex_unlock(&dynamic_netconsole_mutex);\n\t\treturn count;" });
    });
};

mutant 'enabled-without-set-up', 'says that a target is enabled whose device is not there', sub {
    storing('enabled', sub {
        replace(qr/= netpoll_setup\(&nt->np\);\n\t\tif \(\w+\)\n\t\t\tgoto out_unlock;/, sub {
            "= netpoll_setup(&nt->np);\n\t\tif (" . (series() eq '6.1' ? 'err' : 'ret') . ") {\n\t\t\tmutex_unlock(&dynamic_netconsole_mutex);\n\t\t\treturn count;\n\t\t}" });
    });
};

mutant 'remote-port-shown-wrong', 'shows the local port as remote_port', sub {
    within('remote_port_show', sub { replace(qr/np\.remote_port/, 'np.local_port') });
};

mutant 'remote-mac-shown-wrong', 'shows the broadcast address as remote_mac', sub {
    within('remote_mac_show', sub { replace(qr/(?=\treturn)/, "\tu8 all[ETH_ALEN] = { 255, 255, 255, 255, 255, 255 };\n\n"); replace(qr/to_target\(item\)->np\.remote_mac/, 'all') });
};

mutant 'enabled-shown-wrong', 'shows each target as enabled', sub {
    within('enabled_show', sub { replace(qr/to_target\(item\)->enabled/, '1') });
};

mutant 'long-dev-name-cut', 'cuts a device name that is too long, and takes it', sub {
    storing('dev_name', sub { replace(qr/return -ENAMETOOLONG;/, ';') });
};

mutant 'families-mixed', 'takes an IPv4 address after one of IPv6', sub {
    for my $address ('local_ip', 'remote_ip') {
        storing($address, sub { replace(qr/if \(!nt->np\.ipv6\)/, 'if (true)') });
    }
};
1;
