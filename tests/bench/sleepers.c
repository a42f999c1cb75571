/* sleepers COUNT: that many sleeping processes named mt_sleeper, until standard input ends, the parent dies, or ten minutes have passed. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST 20000
static pid_t children[MOST];
static volatile sig_atomic_t made;

static void end(int number)
{
    for (int i = 0; i < made; i++)
        kill(children[i], SIGKILL);
    while (wait(NULL) > 0)  /* or they would be left to init, 5,000 zombies at once */
        ;
    if (number)
        _exit(1);
}

int main(int count, char **words)
{
    int wanted = count > 1 ? atoi(words[1]) : 0;
    pid_t self = getpid();
    char byte;
    if (wanted < 1 || wanted > MOST)
        return 3;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    signal(SIGTERM, end);
    signal(SIGINT, end);
    signal(SIGHUP, end);
    signal(SIGALRM, end);
    alarm(600);
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    while (made < wanted) {
        sigprocmask(SIG_SETMASK, &all, NULL);  /* no end between a fork and its entry in the list */
        pid_t child = fork();
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            signal(SIGTERM, SIG_DFL);
            signal(SIGINT, SIG_DFL);
            sigprocmask(SIG_SETMASK, &none, NULL);
            prctl(PR_SET_NAME, "mt_sleeper");
            close(0);
            close(1);
            while (getppid() == self)
                pause();
            _exit(0);
        }
        if (child < 0) {
            perror("fork");
            end(0);
            return 1;
        }
        children[made] = child;
        made = made + 1;
        sigprocmask(SIG_SETMASK, &none, NULL);
    }
    printf("ready\n");
    fflush(stdout);
    while (read(0, &byte, 1) > 0)
        ;
    end(0);
    return 0;
}
