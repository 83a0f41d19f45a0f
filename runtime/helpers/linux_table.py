"""The helpers of Linux as a table: number, name without `bpf_`, result, arguments / what else a call does.

Not here: what reads it (linux.py), and what can be run (core.py and extensions).

Words are the values of ReturnType and ArgType. After an argument: `?` it may be null, `!` the helper writes
through it, `-` it is released, `@` the helper reads there if it can, `:n` it is n bytes;
before those, `=name` says which struct of the kernel a btf_id points to. After the slash: `packet` arguments may point into the packet,
`gpl` for programs under the GPL only, `moves` packet pointers are void afterwards, `acquires` the result must be released,
`casts` the result is the object of the first argument, `counts` the result is at most the size that is given,
`locks` and `unlocks` what they say.
A `*` stands for the name of the hook that alone has the helper, which puts its own there. Numbers and names are those of
the UAPI; where program types have prototypes of their own, the row is that of the network driver's.
"""

from __future__ import annotations

from typing import Final

__all__ = ["TABLE"]

TABLE: Final = """
  1 map_lookup_elem                map_value_or_null     map_ptr map_key / packet
  2 map_update_elem                integer               map_ptr map_key map_value anything / packet
  3 map_delete_elem                integer               map_ptr map_key / packet
  4 probe_read                     integer               uninit_mem! const_size_or_zero anything@ / gpl
  5 ktime_get_ns                   integer
  6 trace_printk                   integer               mem const_size / gpl
  7 get_prandom_u32                integer
  8 get_smp_processor_id           integer
  9 skb_store_bytes                integer               ctx anything mem const_size anything / moves
 10 l3_csum_replace                integer               ctx anything anything anything anything / moves
 11 l4_csum_replace                integer               ctx anything anything anything anything / moves
 12 tail_call                      void                  ctx map_ptr anything / moves
 13 clone_redirect                 integer               ctx anything anything / moves
 14 get_current_pid_tgid           integer
 15 get_current_uid_gid            integer
 16 get_current_comm               integer               uninit_mem! const_size
 17 get_cgroup_classid             integer               ctx
 18 skb_vlan_push                  integer               ctx anything anything / moves
 19 skb_vlan_pop                   integer               ctx / moves
 20 skb_get_tunnel_key             integer               ctx uninit_mem! const_size anything
 21 skb_set_tunnel_key             integer               ctx mem const_size anything
 22 perf_event_read                integer               map_ptr anything / gpl
 23 redirect                       integer               anything anything
 24 get_route_realm                integer               ctx
 25 perf_event_output              integer               ctx map_ptr anything mem const_size_or_zero / gpl
 26 skb_load_bytes                 integer               ctx anything uninit_mem! const_size
 27 get_stackid                    integer               ctx map_ptr anything / gpl
 28 csum_diff                      integer               mem? const_size_or_zero mem? const_size_or_zero anything / packet
 29 skb_get_tunnel_opt             integer               ctx uninit_mem! const_size
 30 skb_set_tunnel_opt             integer               ctx mem const_size
 31 skb_change_proto               integer               ctx anything anything / moves
 32 skb_change_type                integer               ctx anything
 33 skb_under_cgroup               integer               ctx map_ptr anything
 34 get_hash_recalc                integer               ctx
 35 get_current_task               integer                / gpl
 36 probe_write_user               integer               anything mem const_size / gpl
 37 current_task_under_cgroup      integer               map_ptr anything
 38 skb_change_tail                integer               ctx anything anything / moves
 39 skb_pull_data                  integer               ctx anything / moves
 40 csum_update                    integer               ctx anything
 41 set_hash_invalid               integer               ctx
 42 get_numa_node_id               integer
 43 skb_change_head                integer               ctx anything anything / moves
 44 *adjust_head                   integer               ctx anything / moves
 45 probe_read_str                 integer               uninit_mem! const_size_or_zero anything@ / gpl counts
 46 get_socket_cookie              integer               ctx
 47 get_socket_uid                 integer               ctx
 48 set_hash                       integer               ctx anything
 49 setsockopt                     integer               any_sock_common anything anything mem const_size
 50 skb_adjust_room                integer               ctx anything anything anything / moves
 51 redirect_map                   integer               map_ptr anything anything
 52 sk_redirect_map                integer               ctx map_ptr anything anything
 53 sock_map_update                integer               ctx map_ptr map_key anything / packet
 54 *adjust_meta                   integer               ctx anything / moves
 55 perf_event_read_value          integer               map_ptr anything uninit_mem! const_size / gpl
 56 perf_prog_read_value           integer               ctx uninit_mem! const_size / gpl
 57 getsockopt                     integer               any_sock_common anything anything uninit_mem! const_size
 58 override_return                integer               ctx anything / gpl
 59 sock_ops_cb_flags_set          integer               ctx anything
 60 msg_redirect_map               integer               ctx map_ptr anything anything
 61 msg_apply_bytes                integer               ctx anything
 62 msg_cork_bytes                 integer               ctx anything
 63 msg_pull_data                  integer               ctx anything anything anything / moves
 64 bind                           integer               ctx mem const_size
 65 *adjust_tail                   integer               ctx anything / moves
 66 skb_get_xfrm_state             integer               ctx anything uninit_mem! const_size anything
 67 get_stack                      integer               ctx uninit_mem! const_size_or_zero anything / gpl counts
 68 skb_load_bytes_relative        integer               ctx anything uninit_mem! const_size anything
 69 fib_lookup                     integer               ctx mem! const_size anything / gpl
 70 sock_hash_update               integer               ctx map_ptr map_key anything / packet
 71 msg_redirect_hash              integer               ctx map_ptr map_key anything
 72 sk_redirect_hash               integer               ctx map_ptr map_key anything
 73 lwt_push_encap                 integer               ctx anything mem const_size / moves
 74 lwt_seg6_store_bytes           integer               ctx anything mem / moves
 75 lwt_seg6_adjust_srh            integer               ctx anything anything / moves
 76 lwt_seg6_action                integer               ctx anything mem / moves
 77 rc_repeat                      integer               ctx / gpl
 78 rc_keydown                     integer               ctx anything anything anything / gpl
 79 skb_cgroup_id                  integer               ctx
 80 get_current_cgroup_id          integer
 81 get_local_storage              map_value             map_ptr anything
 82 sk_select_reuseport            integer               ctx map_ptr map_key anything
 83 skb_ancestor_cgroup_id         integer               ctx anything
 84 sk_lookup_tcp                  sock_or_null          ctx mem const_size_or_zero anything anything / packet acquires
 85 sk_lookup_udp                  sock_or_null          ctx mem const_size_or_zero anything anything / packet acquires
 86 sk_release                     integer               any_sock_common-
 87 map_push_elem                  integer               map_ptr map_value anything / packet
 88 map_pop_elem                   integer               map_ptr map_value!
 89 map_peek_elem                  integer               map_ptr map_value!
 90 msg_push_data                  integer               ctx anything anything anything / moves
 91 msg_pop_data                   integer               ctx anything anything anything / moves
 92 rc_pointer_rel                 integer               ctx anything anything / gpl
 93 spin_lock                      void                  spin_lock / locks
 94 spin_unlock                    void                  spin_lock / unlocks
 95 sk_fullsock                    sock_or_null          sock_common / casts
 96 tcp_sock                       tcp_sock_or_null      sock_common / casts
 97 skb_ecn_set_ce                 integer               ctx
 98 get_listener_sock              sock_or_null          sock_common
 99 skc_lookup_tcp                 sock_common_or_null   ctx mem const_size_or_zero anything anything / packet acquires
100 tcp_check_syncookie            integer               any_sock_common mem const_size mem const_size / packet gpl
101 sysctl_get_name                integer               ctx mem! const_size anything
102 sysctl_get_current_value       integer               ctx uninit_mem! const_size
103 sysctl_get_new_value           integer               ctx uninit_mem! const_size
104 sysctl_set_new_value           integer               ctx mem const_size
105 strtol                         integer               mem const_size anything fixed_size_mem!:8
106 strtoul                        integer               mem const_size anything fixed_size_mem!:8
107 sk_storage_get                 map_value_or_null     map_ptr any_sock_common map_value? anything
108 sk_storage_delete              integer               map_ptr any_sock_common
109 send_signal                    integer               anything
110 tcp_gen_syncookie              integer               any_sock_common mem const_size mem const_size / packet gpl
111 skb_output                     integer               btf_id map_ptr anything mem const_size_or_zero / gpl
112 probe_read_user                integer               uninit_mem! const_size_or_zero anything@ / gpl
113 probe_read_kernel              integer               uninit_mem! const_size_or_zero anything@ / gpl
114 probe_read_user_str            integer               uninit_mem! const_size_or_zero anything@ / gpl counts
115 probe_read_kernel_str          integer               uninit_mem! const_size_or_zero anything@ / gpl counts
116 tcp_send_ack                   integer               btf_id anything
117 send_signal_thread             integer               anything
118 jiffies64                      integer
119 read_branch_records            integer               ctx mem?! const_size_or_zero anything / gpl
120 get_ns_current_pid_tgid        integer               anything anything uninit_mem! const_size
121 *output                        integer               btf_id map_ptr anything mem const_size_or_zero / gpl
122 get_netns_cookie               integer               ctx?
123 get_current_ancestor_cgroup_id integer               anything
124 sk_assign                      integer               ctx any_sock_common anything
125 ktime_get_boot_ns              integer
126 seq_printf                     integer               btf_id mem const_size mem? const_size_or_zero / gpl
127 seq_write                      integer               btf_id mem const_size_or_zero / gpl
128 sk_cgroup_id                   integer               any_sock_common
129 sk_ancestor_cgroup_id          integer               any_sock_common anything
130 ringbuf_output                 integer               map_ptr mem const_size_or_zero anything
131 ringbuf_reserve                ringbuf_mem_or_null   map_ptr const_alloc_size_or_zero anything / acquires
132 ringbuf_submit                 void                  ringbuf_mem- anything
133 ringbuf_discard                void                  ringbuf_mem- anything
134 ringbuf_query                  integer               map_ptr anything
135 csum_level                     integer               ctx anything
136 skc_to_tcp6_sock               btf_id_or_null=tcp6_sock any_sock_common / casts
137 skc_to_tcp_sock                btf_id_or_null=tcp_sock any_sock_common / casts
138 skc_to_tcp_timewait_sock       btf_id_or_null=tcp_timewait_sock any_sock_common / casts
139 skc_to_tcp_request_sock        btf_id_or_null=tcp_request_sock any_sock_common / casts
140 skc_to_udp6_sock               btf_id_or_null=udp6_sock any_sock_common / casts
141 get_task_stack                 integer               btf_id=task_struct uninit_mem! const_size_or_zero anything / counts
142 load_hdr_opt                   integer               ctx mem! const_size anything
143 store_hdr_opt                  integer               ctx mem const_size anything / moves
144 reserve_hdr_opt                integer               ctx anything anything
145 inode_storage_get              map_value_or_null     map_ptr btf_id=inode? map_value? anything
146 inode_storage_delete           integer               map_ptr btf_id=inode?
147 d_path                         integer               btf_id mem! const_size_or_zero
148 copy_from_user                 integer               uninit_mem! const_size_or_zero anything
149 snprintf_btf                   integer               mem! const_size mem const_size anything
150 seq_printf_btf                 integer               btf_id mem const_size_or_zero anything / gpl
151 skb_cgroup_classid             integer               ctx
152 redirect_neigh                 integer               anything mem? const_size_or_zero anything
153 per_cpu_ptr                    mem_or_btf_id_or_null percpu_btf_id anything
154 this_cpu_ptr                   mem_or_btf_id         percpu_btf_id
155 redirect_peer                  integer               anything anything
156 task_storage_get               map_value_or_null     map_ptr btf_id=task_struct? map_value? anything
157 task_storage_delete            integer               map_ptr btf_id=task_struct?
158 get_current_task_btf           btf_id=task_struct    / gpl
159 bprm_opts_set                  integer               btf_id anything
160 ktime_get_coarse_ns            integer
161 ima_inode_hash                 integer               btf_id=inode uninit_mem! const_size
162 sock_from_file                 btf_id_or_null        btf_id
163 check_mtu                      integer               ctx anything fixed_size_mem!:4 anything anything / gpl
164 for_each_map_elem              integer               map_ptr func stack? anything
165 snprintf                       integer               mem?! const_size_or_zero const_str mem? const_size_or_zero / gpl
166 sys_bpf                        integer               anything mem const_size
167 btf_find_by_name_kind          integer               mem const_size anything anything
168 sys_close                      integer               anything
169 timer_init                     integer               timer map_ptr anything / gpl
170 timer_set_callback             integer               timer func / gpl
171 timer_start                    integer               timer anything anything / gpl
172 timer_cancel                   integer               timer / gpl
173 get_func_ip                    integer               ctx / gpl
174 get_attach_cookie              integer               ctx
175 task_pt_regs                   btf_id=pt_regs        btf_id=task_struct / gpl
176 get_branch_snapshot            integer               uninit_mem! const_size_or_zero / gpl
177 trace_vprintk                  integer               mem const_size mem? const_size_or_zero / gpl
178 skc_to_unix_sock               btf_id_or_null=unix_sock any_sock_common
179 kallsyms_lookup_name           integer               mem! const_size_or_zero anything fixed_size_mem!:8
180 find_vma                       integer               btf_id=task_struct anything func stack? anything
181 loop                           integer               anything func stack? anything
182 strncmp                        integer               mem const_size const_str
183 get_func_arg                   integer               ctx anything fixed_size_mem!:8
184 get_func_ret                   integer               ctx fixed_size_mem!:8
185 get_func_arg_cnt               integer               ctx
186 get_retval                     integer
187 set_retval                     integer               anything
188 *get_buff_len                  integer               ctx
189 *load_bytes                    integer               ctx anything uninit_mem! const_size
190 *store_bytes                   integer               ctx anything mem const_size
191 copy_from_user_task            integer               uninit_mem! const_size_or_zero anything btf_id=task_struct / gpl
192 skb_set_tstamp                 integer               ctx anything anything
193 ima_file_hash                  integer               btf_id uninit_mem! const_size
194 kptr_xchg                      btf_id_or_null        kptr btf_id?- / acquires
195 map_lookup_percpu_elem         map_value_or_null     map_ptr map_key anything / packet
196 skc_to_mptcp_sock              btf_id_or_null=mptcp_sock sock_common / casts
197 dynptr_from_mem                integer               uninit_mem! const_size_or_zero anything dynptr!
198 ringbuf_reserve_dynptr         integer               map_ptr anything anything dynptr!
199 ringbuf_submit_dynptr          void                  dynptr- anything
200 ringbuf_discard_dynptr         void                  dynptr- anything
201 dynptr_read                    integer               uninit_mem! const_size_or_zero dynptr anything anything
202 dynptr_write                   integer               dynptr anything mem const_size_or_zero anything
203 dynptr_data                    dynptr_mem_or_null    dynptr anything const_alloc_size_or_zero
204 tcp_raw_gen_syncookie_ipv4     integer               fixed_size_mem:20 mem const_size_or_zero / packet gpl
205 tcp_raw_gen_syncookie_ipv6     integer               fixed_size_mem:40 mem const_size_or_zero / packet gpl
206 tcp_raw_check_syncookie_ipv4   integer               fixed_size_mem:20 fixed_size_mem:20 / packet gpl
207 tcp_raw_check_syncookie_ipv6   integer               fixed_size_mem:40 fixed_size_mem:20 / packet gpl
208 ktime_get_tai_ns               integer
209 user_ringbuf_drain             integer               map_ptr func stack? anything
210 cgrp_storage_get               map_value_or_null     map_ptr btf_id=cgroup? map_value? anything
211 cgrp_storage_delete            integer               map_ptr btf_id=cgroup?
"""
