#pragma once
/* The commands of `kudos`, dispatched by the table in main.c. Each gets the arguments after its name
 * and the loaded settings; it prints results to standard output, problems to standard error, and
 * returns the exit status: 0 done, 1 not done, 2 could not look or wrong use. */
#include "server/settings.h"

int serve_command(int argc, char **argv, const struct settings *settings);
int migrate_command(int argc, char **argv, const struct settings *settings);
int workspace_command(int argc, char **argv, const struct settings *settings);
int key_command(int argc, char **argv, const struct settings *settings);
int demo_command(int argc, char **argv, const struct settings *settings);
int verify_command(int argc, char **argv, const struct settings *settings);
int gap_command(int argc, char **argv, const struct settings *settings);
int reclassify_command(int argc, char **argv, const struct settings *settings);
int reattribute_command(int argc, char **argv, const struct settings *settings);
int check_command(int argc, char **argv, const struct settings *settings);
int explain_command(int argc, char **argv, const struct settings *settings);
int test_link_command(int argc, char **argv, const struct settings *settings);
