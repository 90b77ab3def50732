"""Bugs that the protocol tests must find: edits of the sources, by name.

An edit is (source, function, old, new): in each line of the function ("": of the
source) that contains old, its first occurrence becomes new. All of a list's edits
are made. Nothing is a pattern; a line break in new is one.
"""

def _each(source, edits):
    """The edits of one source, given without it."""
    return {
        name: [(source,) + e for e in (edit if type(edit) == "list" else [edit])]
        for name, edit in edits.items()
    }

_MUTEX = _each("//sync:mutex.c", {
    "acquires_nothing": ("", "SYNC_CAS_ACQ", "SYNC_CAS"),
    "forgets_sleepers": [
        ("", "(&m->word, MUTEX_CONTENDED)", "(&m->word, MUTEX_HELD)"),
        ("", "&m->word, MUTEX_CONTENDED, ", "&m->word, MUTEX_HELD, "),
    ],
    "forgets_to_wake": ("", "sync_futex_wake(&m->word, 1)", "0"),
    "looks_then_takes": (
        "",
        "SYNC_CAS_ACQ(&m->word, &was, MUTEX_HELD)",
        "SYNC_LOAD_ACQ(&m->word) == was && (SYNC_STORE(&m->word, MUTEX_HELD), 1)",
    ),
    "releases_nothing": (
        "",
        "SYNC_XCHG_ACQREL(&m->word, MUTEX_FREE)",
        "MUTANT_XCHG(&m->word, MUTEX_FREE)",
    ),
    "takes_late_acquiring_nothing": (
        "",
        "SYNC_XCHG_ACQREL(&m->word, MUTEX_CONTENDED)",
        "MUTANT_XCHG(&m->word, MUTEX_CONTENDED)",
    ),
    "wakes_first": [
        ("", "sync_futex_wake(&m->word, 1)", "0"),
        (
            "",
            "uint32_t was = SYNC_XCHG",
            "sync_futex_wake(&m->word, 1);\nuint32_t was = SYNC_XCHG",
        ),
    ],
})

_ONCE = _each("//sync:once.c", {
    "begins_relaxed": ("", "SYNC_CAS_ACQ(", "SYNC_CAS("),
    "begins_twice": (
        "",
        "SYNC_CAS_ACQ(&o->word, &state, ONCE_RUNNING)",
        "(state = SYNC_LOAD_ACQ(&o->word)) == ONCE_TODO && " +
        "(SYNC_STORE(&o->word, ONCE_RUNNING), 1)",
    ),
    "dies_with_its_fn": [
        ("", "SYNC_CLEANUP(end_run)", ""),
        ("", "run.outcome = ONCE_DONE;", "run.outcome = ONCE_DONE; end_run(&run);"),
    ],
    "ends_relaxed": ("", "SYNC_XCHG_ACQREL", "MUTANT_XCHG"),
    "forgets_to_wake": ("", "sync_futex_wake(word, INT_MAX)", "0"),
    "looks_relaxed": ("", "SYNC_LOAD_ACQ", "SYNC_LOAD"),
    "sleeps_unnoticed": [
        ("", "SYNC_CAS(&o->word, &state, ONCE_AWAITED)", "0"),
        ("", "ONCE_AWAITED, SYNC_NEVER", "ONCE_RUNNING, SYNC_NEVER"),
    ],
    "wakes_first": [
        ("", "sync_futex_wake(word, INT_MAX)", "0"),
        ("", "if (SYNC_XCHG", "sync_futex_wake(word, INT_MAX);\nif (SYNC_XCHG"),
    ],
    "wakes_one": ("", "INT_MAX", "1"),
})

_EVENT = _each("//sync:event.c", {
    "fires_relaxed": ("", "SYNC_OR_ACQREL", "SYNC_ADD"),
    "fires_unheard": ("", "sync_futex_wake(&w->fired, 1)", "0"),
    "forgets_the_next": (
        "",
        "sync_futex_wake(&e->word, EVENT_SLEEPER_WAKES)",
        "0",
    ),
    "forgets_to_wake": ("", "sync_futex_wake(&e->word, EVENT_SETTER_WAKES)", "0"),
    "hears_relaxed": ("", "SYNC_LOAD_ACQ(&w->fired)", "SYNC_LOAD(&w->fired)"),
    "leaves_the_event_firing": (
        "",
        "sleep_until_fired(&w, NOTED_BY_EVENT, SYNC_NEVER)",
        "0",
    ),
    "leaves_the_note_firing": (
        "",
        "sleep_until_fired(&w, NOTED_BY_NOTE, SYNC_NEVER)",
        "0",
    ),
    "looks_relaxed": ("", "SYNC_LOAD_ACQ(&e->word)", "SYNC_LOAD(&e->word)"),
    "returns_before_it_is_set": (
        "void sync_event_set",
        "sleep_until_set(e, SYNC_NEVER)",
        "0",
    ),
    "says_too_late_too_early": (
        "int sync_event_watch",
        "sleep_until_set(e, SYNC_NEVER)",
        "0",
    ),
    "seals_an_unlocked_list": [
        ("static int seal", "sync_mutex_lock(&e->mu)", "0"),
        ("static int seal", "sync_mutex_unlock(&e->mu)", "0"),
    ],
    "seals_late": (
        "",
        "if (!seal(e, &watchers))",
        "if (SYNC_XCHG_ACQREL(&e->word, EVENT_SET) == EVENT_SLEPT_ON) " +
        "sync_futex_wake(&e->word, 9);\nif (!seal(e, &watchers))",
    ),
    "sets_relaxed": ("", "SYNC_XCHG_ACQREL(&e->word", "MUTANT_XCHG(&e->word"),
    "sleeps_relaxed": ("", "SYNC_CAS_ACQ", "SYNC_CAS"),
    "sleeps_unnoticed": [
        ("", "&state, EVENT_SLEPT_ON)", "&state, EVENT_UNSET)"),
        ("", "EVENT_SLEPT_ON, deadline_ns", "EVENT_UNSET, deadline_ns"),
    ],
    "takes_off_what_is_sealed": (
        "int sync_event_unwatch",
        "return !is_sealed",
        "return 1",
    ),
    "takes_off_an_unlocked_list": [
        ("int sync_event_unwatch", "sync_mutex_lock(&e->mu)", "0"),
        ("int sync_event_unwatch", "sync_mutex_unlock(&e->mu)", "0"),
    ],
    "touches_what_is_set": (
        "",
        "call_watchers(&watchers)",
        "SYNC_LOAD(&e->word);\ncall_watchers(&watchers)",
    ),
    "watches_what_is_sealed": (
        "int sync_event_watch",
        "e->watchers.first == &sealed",
        "0",
    ),
})

_NOTE = _each("//sync:note.c", {
    "drops_relaxed": ("", "SYNC_SUB_ACQREL(&n->refs", "SYNC_SUB(&n->refs"),
    "forgets_a_late_child": (
        "struct sync_note *sync_note_new",
        "sync_note_notify(n)",
        "0",
    ),
    "frees_what_is_called": (
        "",
        "sync_event_unwatch(&parent->event, &n->on_parent)",
        "(sync_event_unwatch(&parent->event, &n->on_parent), 1)",
    ),
    "forgets_whose_children": (
        "static void notify_child_of_list",
        "SYNC_TLS(to_notify) = n->next",
        "SYNC_TLS(to_notify) = NULL",
    ),
    "keeps_a_called_child": ("static void drop_listed", "drop_refs(*n, 1)", "0"),
    "keeps_a_watched_note": ("int sync_note_unwatch", "drop_user(n)", "0"),
    "never_leaves_its_parent": ("", "parent != NULL &&", "0 &&"),
    "owes_its_parent": ("", "SYNC_ADD(&parent->users, 1)", "0"),
    "owns_itself_late": [
        ("", "SYNC_ADD(&n->refs, 1)", "0"),
        (
            "",
            "if (!sync_event_watch(&parent->event, &n->on_parent))",
            "int late = !sync_event_watch(&parent->event, &n->on_parent);\n" +
            "SYNC_ADD(&n->refs, 1);\nif (late)",
        ),
    ],
    "watches_unused": [
        ("int sync_note_watch", "SYNC_ADD(&n->users, 1)", "0"),
        ("int sync_note_watch", "drop_user(n)", "0"),
        ("int sync_note_unwatch", "drop_user(n)", "0"),
    ],
})

_PIN = dict(
    _each("//sync:pin.c", {
        "adds_relaxed": ("", "SYNC_CAS_ACQREL(&head", "SYNC_CAS(&head"),
        "has_no_heavy_fence": ("", "!sync_heavy_fence()", "0"),
        "overlooks_a_slot": ("int sync_pin_scan", "i = 0;", "i = 1;"),
        "reaches_records_relaxed": (
            "int sync_pin_scan",
            "SYNC_LOAD_ACQ(&head)",
            "SYNC_LOAD(&head)",
        ),
        "scans_relaxed": ("int sync_pin_scan", "SYNC_LOAD_ACQ(&r->", "SYNC_LOAD(&r->"),
        "shares_a_record": (
            "",
            "SYNC_CAS_ACQ(&r->taken, &free, 1)",
            "(SYNC_STORE(&r->taken, 1), free == 0)",
        ),
        "stores_without_a_fence": (
            "",
            "SYNC_XCHG_SC(slot, p)",
            "(SYNC_STORE_REL(slot, p), 0)",
        ),
    }),
    **dict(
        _each("//sync:pin.h", {
            "reuses_a_slot": ("", "!SYNC_LIKELY(SYNC_IS_ACQ(slot, NULL))", "0"),
            "pins_over_what_it_has_not_seen": (
                "SYNC_INLINE int sync_pin_at",
                "SYNC_IS_ACQ(slot, NULL)",
                "SYNC_LOAD(slot) == NULL",
            ),
            "pins_relaxed": (
                "SYNC_INLINE int sync_pin_at",
                "SYNC_STORE_REL(slot, p)",
                "SYNC_STORE(slot, p)",
            ),
            "unpins_relaxed": (
                "SYNC_INLINE void sync_unpin",
                "SYNC_STORE_REL",
                "SYNC_STORE",
            ),
        }),
        **_each("pin_sched_test.c", {
            "does_not_look_again": ("", "if (SYNC_LOAD_ACQ(&shared) != o)", "if (0)"),
        })
    )
)

_CHAN = _each("//sync:chan.c", {
    "claims_what_is_claimed": (
        "static int choose",
        "SYNC_CAS_ACQREL(&s->chosen, &nobody, chosen)",
        "SYNC_LOAD(&s->chosen) == nobody && (SYNC_STORE(&s->chosen, chosen), 1)",
    ),
    "closes_for_receivers_alone": ("", "close_list(c, &c->senders, &woken);", ";"),
    "gives_up_when_claimed": ("", "!choose(s, SELECT_GIVEN_UP)", "0"),
    "lets_go_before_it_is_on_the_lists": (
        "",
        "enlist_all(&s);",
        "unlock_all(cases, (uint32_t)n); lock_all(cases, (uint32_t)n);" +
        "enlist_all(&s);",
    ),
    "leaves_its_other_cases": ("", "delist_those_of(w->selector, w->chan);", ""),
    "stays_on_the_lists": ("", "delist_all(s, chosen);", ";"),
    "uses_the_channel_when_done": ("", " && k->chan != done", ""),
})

_MONITOR = dict(
    _each("//sync:monitor.c", {
        "answers_nobody_at_close": ("void sync_monitor_close", "answer_all(m);", ";"),
        "forgets_to_wake": (
            "static int enqueue",
            "sync_futex_wake(&m->asleep, 1)",
            "0",
        ),
        "overlaps_itself": (
            "static int begin_stint",
            "runner != self()",
            "0",
        ),
        "rests_without_another_look": ("static void rest", "has_news(m)", "0"),
        "sleeps_without_another_look": (
            "static void doze",
            "(void)SYNC_XCHG_ACQREL(&m->asleep, 1);",
            "(void)SYNC_XCHG_ACQREL(&m->asleep, 1);" +
            "(void)sync_futex_wait(&m->asleep, 1, SYNC_NEVER); return;",
        ),
        "takes_in_whom_it_refuses": [
            (
                "static int enqueue",
                "SYNC_LOAD_ACQ(&m->n_ops)",
                "SYNC_ADD_ACQREL(&m->n_ops, 1)",
            ),
            (
                "static int enqueue",
                "return before",
                "SYNC_SUB(&m->n_ops, 1); return before",
            ),
            (
                "static int enqueue",
                "!SYNC_CAS_ACQREL(&m->n_ops, &before, before + 1)",
                "0",
            ),
        ],
        "takes_in_what_comes_after_close": (
            "static int enqueue",
            "(before & CLOSED) != 0 ||",
            "",
        ),
        "uses_the_monitor_when_answered": [
            ("static int enqueue", "is_asleep = call_owner(m)", "is_asleep = 0"),
            ("static int enqueue", "if (is_asleep)", "if (call_owner(m))"),
        ],
        "wakes_first": [
            ("static int enqueue", "is_asleep = call_owner(m)", "is_asleep = 0"),
            (
                "static int enqueue",
                "uint32_t before =",
                "wake_owner(m);\nuint32_t before =",
            ),
        ],
    }),
    **_each("//sync:mpsc.h", {
        "pops_relaxed": ("", "SYNC_LOAD_ACQ(&n->next)", "SYNC_LOAD(&n->next)"),
        "pushes_relaxed": (
            "",
            "SYNC_STORE_REL(&before->next, n)",
            "SYNC_STORE(&before->next, n)",
        ),
    })
)

_RWMUTEX = _each("//sync:rwmutex.c", {
    "forgets_who_left_already": ("", "inside) + inside != 0", "inside) != 0"),
    "lets_in_one_reader": ("", "(&rw->let_in, waiting)", "(&rw->let_in, 1)"),
    "lets_readers_pass": ("", ">= RWMUTEX_WRITER) {", ">= 2 * RWMUTEX_WRITER) {"),
    "takes_relaxed": ("", "SYNC_CAS_ACQREL(semaphore, ", "SYNC_CAS(semaphore, "),
    "writes_amid_readers": ("", "semaphore_take(&rw->all_left);", ";"),
})

_WAITGROUP = _each("//sync:waitgroup.c", {
    "forgets_to_leave": ("", "sync_list_remove(&wg->waiters, &w->link);", ";"),
    "leaves_too_late": ("", "error != SYNC_OK && !leave_round(wg, &w, round)", "0"),
    "wakes_inside": (
        "",
        "wg->round++;",
        "wg->round++; set_all(&wg->waiters);",
    ),
    "waits_for_no_setter": (
        "",
        "error = sync_event_wait(&w.over, SYNC_NEVER, NULL);",
        "error = SYNC_OK;",
    ),
})

# By the protocol that they break.
MUTANTS = {
    "chan": _CHAN,
    "event": _EVENT,
    "monitor": _MONITOR,
    "mutex": _MUTEX,
    "note": _NOTE,
    "once": _ONCE,
    "pin": _PIN,
    "rwmutex": _RWMUTEX,
    "waitgroup": _WAITGROUP,
}
