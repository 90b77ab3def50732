// Stacks, and switching between them.
#include "sync/sched_internal.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { STACK_SIZE = 256 << 10, GUARD_SIZE = 64 << 10 };

// Each stack with its guard below, which no access survives.
enum { SLICE = GUARD_SIZE + STACK_SIZE };

static char *stacks;

static void *stack_of(int thread) {
    return stacks + (size_t)thread * SLICE + GUARD_SIZE;
}

static void make_stacks(void) {
    if (stacks != NULL) {
        return;
    }
    void *p =
        mmap(NULL, SYNC_SCHED_THREADS * (size_t)SLICE, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        abort();
    }
    stacks = p;
    for (int i = 0; i < SYNC_SCHED_THREADS; i++) {
        if (mprotect(stacks + (size_t)i * SLICE, GUARD_SIZE, PROT_NONE) != 0) {
            abort();
        }
    }
}

int sched_stack_owner_(const volatile void *address) {
    uintptr_t offset = (uintptr_t)address - (uintptr_t)stacks;
    return stacks != NULL && offset < SYNC_SCHED_THREADS * (size_t)SLICE
               ? (int)(offset / SLICE)
               : SCHED_NOBODY;
}

int sched_is_guard_(const volatile void *address) {
    int owner = sched_stack_owner_(address);
    return owner != SCHED_NOBODY &&
           (uintptr_t)address < (uintptr_t)stack_of(owner);
}

#ifdef SCHED_BY_HAND

// Registers that belong to a caller are on its stack while it doesn't run.
__asm__(
    ".text\n"
    ".globl sched_coroutine_switch_\n"
    ".hidden sched_coroutine_switch_\n"
    ".type sched_coroutine_switch_, @function\n"
    "sched_coroutine_switch_:\n"
    "    pushq %rbp\n"
    "    pushq %rbx\n"
    "    pushq %r12\n"
    "    pushq %r13\n"
    "    pushq %r14\n"
    "    pushq %r15\n"
    "    movq %rsp, (%rdi)\n"
    "    movq (%rsi), %rsp\n"
    "    popq %r15\n"
    "    popq %r14\n"
    "    popq %r13\n"
    "    popq %r12\n"
    "    popq %rbx\n"
    "    popq %rbp\n"
    "    popq %rcx\n"
    "    jmpq *%rcx\n"
    ".size sched_coroutine_switch_, . - sched_coroutine_switch_\n");

void sched_coroutine_make_(struct sched_coroutine *c, int thread,
                           void (*fn)(void)) {
    make_stacks();
    void **top = (void **)(void *)((char *)stack_of(thread) + STACK_SIZE);
    *--top = NULL;  // fn's return address: there is none
    *--top = (void *)(uintptr_t)fn;
    c->sp = top - 6;
}

#else

void sched_coroutine_switch_(struct sched_coroutine *from,
                             struct sched_coroutine *to) {
    swapcontext(&from->context, &to->context);
}

void sched_coroutine_make_(struct sched_coroutine *c, int thread,
                           void (*fn)(void)) {
    make_stacks();
    getcontext(&c->context);
    c->context.uc_stack.ss_sp = stack_of(thread);
    c->context.uc_stack.ss_size = STACK_SIZE;
    c->context.uc_link = NULL;
    makecontext(&c->context, fn, 0);
}

#endif
