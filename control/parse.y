/*
 * Parent of hermesd. The shape of hermesd.conf(5): lines, blocks, macros,
 * includes. What the statements mean is in the table of config_knobs.c. The
 * file is the operator's and trusted, but mistakes in it are to be found:
 * after an error the next line is looked at.
 */
%{
#include <stdlib.h>
#include <string.h>

#include "control/config_parse.h"
#include "control/parse.tab.h"

int	config_yylex(CONFIG_YYSTYPE *value, struct config_parser *parser);
void	config_yyerror(struct config_parser *parser, const char *message);
static void	block_statements(struct config_parser *parser);
%}

%define api.pure full
%define api.prefix {config_yy}
%parse-param { struct config_parser *parser }
%lex-param { struct config_parser *parser }

%union {
	char	*text;
}

%token	INCLUDE NEWLINE
%token	<text> WORD STRING MACRO
%type	<text> value
%destructor { free($$); } <text>

%%

file		: %empty
		| file NEWLINE
		| file MACRO value NEWLINE {
			config_lex_define(parser, $2, $3);
			free($2);
			free($3);
		}
		| file INCLUDE value NEWLINE {
			/* No token is read ahead here: the next is its. */
			(void)config_lex_push(parser, $3);
			free($3);
		}
		| file words NEWLINE	{ config_statements(parser, ""); }
		| file block NEWLINE
		| file error NEWLINE	{ config_lex_clear(parser); }
		;

block		: WORD '{' {
			parser->block_known = config_block(parser, $1);
			(void)strlcpy(parser->block, $1,
			    sizeof(parser->block));
			parser->block_line = parser->token_line;
			/* It stays on the stack until the block ends. */
			free($1);
			$1 = NULL;
		} rest			{ parser->block[0] = '\0'; }
		;

rest		: body '}'
		| body words '}'	{ block_statements(parser); }
		| body error '}'	{ config_lex_clear(parser); }
		;

body		: %empty
		| body NEWLINE
		| body words NEWLINE	{ block_statements(parser); }
		| body error NEWLINE	{ config_lex_clear(parser); }
		;

words		: word
		| words word
		;

word		: WORD		{ config_lex_keep(parser, $1, 0); }
		| STRING	{ config_lex_keep(parser, $1, 1); }
		;

value		: WORD
		| STRING
		;
%%

static void
block_statements(struct config_parser *parser)
{
	/* An unknown block was reported once; its lines would be noise. */
	if (parser->block_known)
		config_statements(parser, parser->block);
	else
		config_lex_clear(parser);
}

void
config_yyerror(struct config_parser *parser, const char *message)
{
	(void)message;		/* "syntax error" says less than this */
	if (parser->block[0] != '\0' &&
	    strcmp(parser->token, "end of file") == 0) {
		config_error(parser, parser->token_line, "the block %s { of "
		    "line %d is not closed: } is missing", parser->block,
		    parser->block_line);
		return;
	}
	config_error(parser, parser->token_line, "syntax error near \"%s\"; "
	    "expected %s", parser->token, parser->block[0] != '\0' ?
	    "statements, each ended by a newline, comma or semicolon, and }" :
	    "a statement, NAME { statements }, NAME = VALUE or include FILE");
}
