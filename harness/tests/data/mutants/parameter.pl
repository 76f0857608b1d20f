# What the module makes of its parameter.

# Code that runs when a target's parameter is read, with `nt`; an `err` other than 0 refuses it.
sub parsed {
    my ($code) = @_;
    within('alloc_param_target', sub { replace(qr/(?=\terr = netpoll_setup)/, $code) });
}

mutant 'second-target-ignored', "takes only the parameter's first target", sub {
    within('init_netconsole', sub { replace(qr/while \(\(target_config = strsep\(&input, ";"\)\)\)/, 'if ((target_config = strsep(&input, ";")))') });
    s/\t\t\t\t\tcontinue;\n/\t\t\t\t\tgoto none;\n/ and
        replace(qr/(?=\terr = register_netdevice_notifier)/, "none:\n");
};

mutant 'first-target-ignored', "takes only the parameter's last target", sub {
    within('init_netconsole', sub { replace(qr/(?=\t\t\tnt = alloc_param_target)/, "\t\t\tif (input && strlen(input))\n\t\t\t\tcontinue;\n") });
};

mutant 'plus-ignored', "ignores the parameter's +", sub {
    within('alloc_param_target', sub { replace(qr/nt->extended = true;/, 'nt->extended = false;') });
};

mutant 'plus-for-all', 'makes all targets extended once one is', sub {
    within('alloc_param_target', sub {
        replace(qr/nt->extended = true;/, 'nt->extended = seen = true;');
        replace(qr/(?=\tif \(\*target_config == '\+'\))/, "\tif (seen)\n\t\tnt->extended = true;\n");
        replace(qr/(?<=^\{\n)/m, "\tstatic bool seen;\n");
    });
};

mutant 'parameter-ports-swapped', "swaps the parameter's ports", sub { parsed("\tswap(nt->np.local_port, nt->np.remote_port);\n") };

mutant 'parameter-local-port-ignored', "ignores the parameter's source port", sub { parsed("\tnt->np.local_port = 6665;\n") };

mutant 'parameter-remote-port-ignored', "ignores the parameter's port", sub { parsed("\tnt->np.remote_port = 6666;\n") };

mutant 'parameter-local-ip-ignored', "ignores the parameter's source address", sub {
    parsed("\tmemset(&nt->np.local_ip, 0, sizeof(nt->np.local_ip));\n");
};

mutant 'parameter-mac-ignored', "ignores the parameter's Ethernet address", sub { parsed("\teth_broadcast_addr(nt->np.remote_mac);\n") };

mutant 'parameter-device-ignored', "sends from eth0 whatever the parameter says", sub { parsed("\tstrscpy(nt->np.dev_name, \"eth0\", IFNAMSIZ);\n") };

# The values that a parameter's empty fields leave.
sub default {
    my ($expression, $replacement) = @_;
    replace_all($expression, $replacement);
}

mutant 'default-remote-port', 'sends to port 514 by default', sub { default(qr/nt->np\.remote_port = 6666;/, 'nt->np.remote_port = 514;') };

mutant 'default-local-port', 'sends from port 6666 by default', sub { default(qr/nt->np\.local_port = 6665;/, 'nt->np.local_port = 6666;') };

mutant 'default-mac', 'sends to the Ethernet address 0 by default', sub { default(qr/eth_broadcast_addr\(nt->np\.remote_mac\);/, 'eth_zero_addr(nt->np.remote_mac);') };

mutant 'default-device', 'sends from eth1 by default', sub { default(qr/strscpy\(nt->np\.dev_name, "eth0"/, 'strscpy(nt->np.dev_name, "eth1"') };

mutant 'default-extended', 'makes each target of the parameter extended', sub {
    within('alloc_param_target', sub { replace(qr/(?=\tif \(\*target_config == '\+'\))/, "\tnt->extended = true;\n") });
};

mutant 'parameter-refused', 'refuses a parameter with two targets', sub {
    within('init_netconsole', sub { replace(qr/(?=\terr = register_netdevice_notifier)/, "\tif (!list_empty(&target_list) && target_list.next->next != &target_list) {\n\t\terr = -EINVAL;\n\t\tgoto fail;\n\t}\n") });
};

mutant 'parameter-cut', 'takes no parameter of more than 90 bytes', sub { replace(qr/#define MAX_PARAM_LENGTH\s+256/, '#define MAX_PARAM_LENGTH 90') };

only('6.1', sub {
    mutant 'bad-parameter-accepted', 'loads in spite of a target that it cannot read', sub {
        within('init_netconsole', sub { replace(qr/goto fail;(?=\n\t\t\t\}\n\t\t\t\/\* Dump)/, 'continue;') });
    };
    mutant 'missing-device-accepted', 'loads in spite of a device that is not there', sub {
        within('alloc_param_target', sub { replace(qr/(?<=netpoll_setup\(&nt->np\);\n)\tif \(err\)\n\t\tgoto fail;\n\n\tnt->enabled = true;/, "\n\tnt->enabled = !err;") });
    };
});

only('6.12', sub {
    mutant 'bad-parameter-refused', 'does not load with a target that it cannot read', sub {
        within('init_netconsole', sub { replace(qr/if \(IS_ENABLED\(CONFIG_NETCONSOLE_DYNAMIC\)\)\n\s*continue;/, ';') });
    };
    mutant 'targets-behind-a-bad-one-lost', 'reads no target behind one that it cannot read', sub {
        within('init_netconsole', sub { replace(qr/(?<=CONFIG_NETCONSOLE_DYNAMIC\)\)\n)\t\t\t\t\tcontinue;/, "\t\t\t\t\tbreak;") });
    };
    mutant 'r-ignored', "ignores the parameter's r", sub {
        within('alloc_param_target', sub { replace(qr/nt->release = true;/, 'nt->release = false;') });
    };
    mutant 'r-without-plus', "takes the parameter's r without +", sub {
        within('alloc_param_target', sub { replace(qr/if \(!nt->extended\) \{/, 'if (false) {') });
    };
    mutant 'cmdline0-not-found', "shows none of the parameter's targets in configfs", sub {
        within('make_netconsole_target', sub { replace(qr/if \(nt\) \{/, 'if (false) {') });
    };
});
1;
